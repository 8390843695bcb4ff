/* A PLC program around client.c: takes parts from standard input, one a line, and appends what it
 * would have done with each to DIRECTORY/report.jsonl. A part that is reported is not begun again.
 *
 *     plc-client [-k OWN.key -s STATION.pub] ENDPOINT PLC PLAN DIRECTORY TIMEOUT_MS [VIEW ...] < parts
 *
 * The key files are those of `inspection keys`; ../security.md says how they come about.
 * Exit status: 0 all parts are reported, 1 it could not go on, 2 wrong arguments.
 */
#define _POSIX_C_SOURCE 200809L

#include "client.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCAN_MS 10
#define READY_TIMEOUT_MS 60000

static const char *const ACTIONS[] = {"HOLD", "RELEASE", "DIVERT"};

/* Whether a part is in the report; a last line that was cut by a power cut is none. */
static bool is_reported(const char *report, const char *part)
{
    char line[2048];
    bool found = false;
    FILE *file = fopen(report, "r");
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        cJSON *entry = cJSON_Parse(line);
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(entry, "part");
        found = cJSON_IsString(name) && strcmp(name->valuestring, part) == 0;
        cJSON_Delete(entry);
    }
    fclose(file);
    return found;
}

static bool append(const char *report, const struct plc_outcome *outcome)
{
    cJSON *entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "part", outcome->part);
    cJSON_AddStringToObject(entry, "action", ACTIONS[outcome->action]);
    cJSON_AddStringToObject(entry, "reason", outcome->reason);
    if (outcome->run[0] != '\0')
        cJSON_AddStringToObject(entry, "run", outcome->run);
    cJSON_AddNumberToObject(entry, "verdict_seq", (double)outcome->verdict_seq);
    cJSON_AddBoolToObject(entry, "acknowledged", outcome->acknowledged);
    cJSON_AddNumberToObject(entry, "planned", (double)outcome->planned);
    cJSON_AddNumberToObject(entry, "points_ok", (double)outcome->points_ok);
    cJSON_AddNumberToObject(entry, "points_nok", (double)outcome->points_nok);
    cJSON_AddNumberToObject(entry, "points_review", (double)outcome->points_review);
    cJSON_AddNumberToObject(entry, "points_not_inspected", (double)outcome->points_not_inspected);
    cJSON_AddNumberToObject(entry, "milliseconds", (double)outcome->milliseconds);
    char *text = cJSON_PrintUnformatted(entry);
    cJSON_Delete(entry);
    FILE *file = text == NULL ? NULL : fopen(report, "a+");
    bool written = file != NULL;
    if (written) {
        /* After a power cut the last line may lack its end. */
        bool cut = fseek(file, -1, SEEK_END) == 0 && fgetc(file) != '\n';
        fseek(file, 0, SEEK_END);
        written = fprintf(file, "%s%s\n", cut ? "\n" : "", text) > 0;
        written = fflush(file) == 0 && written;
        written = fsync(fileno(file)) == 0 && written;
        written = fclose(file) == 0 && written;
    }
    free(text);
    return written;
}

/* The key in a file: a line NAME = "40 characters". A private one that others may read is none. */
static bool read_key(const char *path, const char *name, char *key)
{
    char line[256], format[32];
    struct stat about;
    bool found = false;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    snprintf(format, sizeof format, "%s = \"%%40[^\"]\"", name);
    bool readable = fstat(fileno(file), &about) == 0 &&
                    (strcmp(name, "secret") != 0 || (about.st_mode & (S_IRWXG | S_IRWXO)) == 0);
    while (readable && !found && fgets(line, sizeof line, file) != NULL)
        found = sscanf(line, format, key) == 1 && strlen(key) == 40;
    fclose(file);
    return found;
}

int main(int count, char **words)
{
    char memory[1024], report[1024], part[256], own_secret[41] = "", station_key[41] = "";
    bool keys = false;
    for (int option; (option = getopt(count, words, "+k:s:")) != -1; keys = true) {
        bool read = option == 'k'   ? read_key(optarg, "secret", own_secret)
                    : option == 's' ? read_key(optarg, "public", station_key)
                                    : false;
        if (!read) {
            fprintf(stderr, "%s: no key there, or others may read it\n", optarg ? optarg : "-");
            return 2;
        }
    }
    words += optind - 1;
    count -= optind - 1;
    if (count < 6 || atoll(words[5]) <= 0) {
        fprintf(stderr, "usage: plc-client [-k OWN.key -s STATION.pub]"
                        " ENDPOINT PLC PLAN DIRECTORY TIMEOUT_MS [VIEW ...] < parts\n");
        return 2;
    }
    snprintf(memory, sizeof memory, "%s/memory", words[4]);
    snprintf(report, sizeof report, "%s/report.jsonl", words[4]);
    struct plc_config config = {
        .endpoint = words[1],
        .plc = words[2],
        .plan = words[3],
        .memory_file = memory,
        .views = (const char *const *)&words[6],
        .view_count = (size_t)(count - 6),
        .timeout_ms = atoll(words[5]),
        .ready_timeout_ms = READY_TIMEOUT_MS,
        .own_secret = keys ? own_secret : NULL,
        .station_key = keys ? station_key : NULL,
    };
    struct plc *plc = plc_open(&config);
    if (plc == NULL) {
        fprintf(stderr, "%s: %s\n", config.endpoint, strerror(errno));
        return 1;
    }
    int status = 0;
    while (status == 0 && fgets(part, sizeof part, stdin) != NULL) {
        part[strcspn(part, "\r\n")] = '\0';
        if (part[0] == '\0' || is_reported(report, part))
            continue;
        if (!plc_start(plc, part)) {
            fprintf(stderr, "%s: is no identifier of a part\n", part);
            status = 1;
            break;
        }
        while (plc_cycle(plc, SCAN_MS) != PLC_DONE)
            ;
        const struct plc_outcome *outcome = plc_outcome(plc);
        /* Here a real program opens the clamp, or calls the repair station. */
        if (!append(report, outcome) || !plc_finish(plc)) {
            fprintf(stderr, "%s: %s\n", words[4], strerror(errno));
            status = 1;
        }
    }
    fprintf(stderr, "%" PRId64 " sockets replaced\n", plc_reconnects(plc));
    plc_close(plc);
    return status;
}
