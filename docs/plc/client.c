/* See client.h for how to use it and ../plc.md for the rules; "rule 1" here is rule 1 there. */
#define _POSIX_C_SOURCE 200809L

#include "client.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define PROTOCOL 1
#define HEARTBEAT_MS 250      /* how often this side says that it is alive */
#define HEARTBEAT_MAX_MS 1000 /* how old the station's heartbeat may be (rule 1) */
#define SILENCE_MS 1500       /* after so long without a frame the socket is replaced (rule 5) */
#define SILENCE_MAX_MS 6000   /* ... and after twice as long each time that did not help */
#define RETRY_MS 500          /* not answered: the same bytes again (rule 2) */
#define POLL_MS 50            /* Busy, or no verdict yet: ask again */
#define FRAME_SIZE (16 * 1024)
#define STALE_VERDICT 117  /* the one fault that is not the end: ask for the newer verdict */
#define LARGEST 9007199254740992.0 /* 2^53: no number of the protocol is larger */

/* What survives a power cut. Written, and on the disk, before anything that depends on it is sent. */
struct memory {
    int64_t next_seq;         /* the next sequence number to spend */
    int64_t last_verdict_seq; /* the highest verdict number that was ever used */
    int64_t begin_seq;        /* the number of Begin for the part in front of us */
    char part[PLC_ID_SIZE];   /* that part; empty: none */
};

/* What the station says in Begun, to compare the verdict with. */
struct begun {
    char run[PLC_ID_SIZE];
    char plan_hash[PLC_ID_SIZE];
    int64_t planned;
};

struct plc {
    const struct plc_config *config;
    void *context;
    void *socket;
    struct memory memory;
    enum plc_state state;
    struct begun begun;
    struct plc_outcome outcome;
    bool resumed;         /* the part stood here when the program was stopped */
    char problem[160];    /* a view that was not photographed where we think (rule 7) */
    char waits_for[160];  /* why the verdict at hand is not used yet */
    size_t view;          /* index of the view being triggered */
    int64_t started, until;

    char *request;        /* the bytes that wait for an answer, NULL: none */
    int64_t request_seq;
    int64_t send_at;      /* when to send them (again) */

    int64_t beat_counter, beat_at;
    int64_t heard_at;     /* the last frame of the station */
    int64_t patience_ms;  /* how long to wait for the next one */
    int64_t station_beat; /* its heartbeat, and when that moved */
    int64_t beat_moved_at;
    bool ready;
    int64_t last_seq;
    char status_text[160];
    int64_t reconnects;
};

/* ------------------------------------------------------------------------------------- time */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* never the time of day: somebody may set that */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool heartbeat_is_fresh(const struct plc *plc)
{
    return plc->station_beat >= 0 && now_ms() - plc->beat_moved_at < HEARTBEAT_MAX_MS;
}

/* ------------------------------------------------------------------------- retentive memory */

static void recall(struct plc *plc)
{
    struct memory read = {1, 0, 0, ""};
    char part[PLC_ID_SIZE] = "";
    FILE *file = fopen(plc->config->memory_file, "r");
    if (file != NULL) {
        int fields = fscanf(file,
                            "next_seq %" SCNd64 " last_verdict_seq %" SCNd64 " begin_seq %" SCNd64
                            " part %64s",
                            &read.next_seq, &read.last_verdict_seq, &read.begin_seq, part);
        if (fields != 4 || read.next_seq < 1)
            read = (struct memory){1, 0, 0, ""}; /* lost: Status.last_seq says how to go on */
        else if (strcmp(part, "-") != 0)
            memcpy(read.part, part, sizeof part);
        fclose(file);
    }
    plc->memory = read;
}

static bool sync_folder(const char *file)
{
    char folder[1024] = ".";
    const char *slash = strrchr(file, '/');
    if (slash != NULL) {
        size_t length = slash == file ? 1 : (size_t)(slash - file);
        if (length >= sizeof folder)
            return false;
        memcpy(folder, file, length);
        folder[length] = '\0';
    }
    int handle = open(folder, O_RDONLY);
    if (handle < 0)
        return false;
    bool synced = fsync(handle) == 0;
    close(handle);
    return synced;
}

/* Beside, to the disk, then in place: after a power cut there is the old file or the new one. */
static bool memorise(struct plc *plc)
{
    const struct memory *memory = &plc->memory;
    char aside[1024];
    int length = snprintf(aside, sizeof aside, "%s.part", plc->config->memory_file);
    if (length < 0 || (size_t)length >= sizeof aside)
        return false;
    FILE *file = fopen(aside, "w");
    if (file == NULL)
        return false;
    bool written = fprintf(file,
                           "next_seq %" PRId64 "\nlast_verdict_seq %" PRId64 "\nbegin_seq %" PRId64
                           "\npart %s\n",
                           memory->next_seq, memory->last_verdict_seq, memory->begin_seq,
                           memory->part[0] == '\0' ? "-" : memory->part) > 0;
    written = fflush(file) == 0 && written;
    written = fsync(fileno(file)) == 0 && written;
    written = fclose(file) == 0 && written;
    return written && rename(aside, plc->config->memory_file) == 0 &&
           sync_folder(plc->config->memory_file);
}

/* The next sequence number, spent on the disk before anything is sent under it; 0: it cannot be. */
static int64_t take_seq(struct plc *plc)
{
    int64_t seq = plc->memory.next_seq++;
    return memorise(plc) ? seq : 0;
}

/* ------------------------------------------------------------------------------------- JSON */

/* Reading trusts nothing: a field that is missing, of another type or too long is not there. */

static bool read_text(const cJSON *message, const char *name, char *text, size_t size)
{
    const cJSON *field = cJSON_GetObjectItemCaseSensitive(message, name);
    if (!cJSON_IsString(field) || strlen(field->valuestring) >= size)
        return false;
    memcpy(text, field->valuestring, strlen(field->valuestring) + 1);
    return true;
}

static bool read_number(const cJSON *message, const char *name, int64_t *number)
{
    const cJSON *field = cJSON_GetObjectItemCaseSensitive(message, name);
    if (!cJSON_IsNumber(field) || !(field->valuedouble >= 0 && field->valuedouble <= LARGEST))
        return false;
    *number = (int64_t)field->valuedouble;
    return (double)*number == field->valuedouble;
}

static bool read_bool(const cJSON *message, const char *name, bool *value)
{
    const cJSON *field = cJSON_GetObjectItemCaseSensitive(message, name);
    *value = cJSON_IsTrue(field);
    return cJSON_IsBool(field);
}

static bool text_is(const cJSON *message, const char *name, const char *expected)
{
    const cJSON *field = cJSON_GetObjectItemCaseSensitive(message, name);
    return cJSON_IsString(field) && strcmp(field->valuestring, expected) == 0;
}

/* cJSON writes a large number as 1e+15; the digits are written here. */
static void add_number(cJSON *message, const char *name, int64_t number)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, number);
    cJSON_AddRawToObject(message, name, digits);
}

static cJSON *new_message(const struct plc *plc, const char *type)
{
    cJSON *message = cJSON_CreateObject();
    cJSON_AddStringToObject(message, "type", type);
    add_number(message, "protocol", PROTOCOL);
    cJSON_AddStringToObject(message, "plc", plc->config->plc);
    return message;
}

/* ----------------------------------------------------------------------------------- socket */

/* Encrypted, and with nobody but this station; false: a key is not what it should be. */
static bool use_keys(void *socket, const struct plc_config *config)
{
    char own_public[41];
    if (config->own_secret == NULL || config->station_key == NULL)
        return config->own_secret == config->station_key;
    return zmq_curve_public(own_public, config->own_secret) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, config->own_secret, 41) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, own_public, 41) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, config->station_key, 41) == 0;
}

static void *new_socket(void *context, const struct plc_config *config)
{
    int no_linger = 0, only_connected = 1, soon = 100, latest = 1000;
    int64_t largest = FRAME_SIZE;
    void *socket = zmq_socket(context, ZMQ_DEALER);
    if (socket == NULL)
        return NULL;
    zmq_setsockopt(socket, ZMQ_LINGER, &no_linger, sizeof no_linger);
    zmq_setsockopt(socket, ZMQ_IMMEDIATE, &only_connected, sizeof only_connected);
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &soon, sizeof soon);
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL_MAX, &latest, sizeof latest);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    if (!use_keys(socket, config) || zmq_connect(socket, config->endpoint) != 0) {
        zmq_close(socket);
        return NULL;
    }
    return socket;
}

static void replace_silent_socket(struct plc *plc, int64_t now)
{
    if (now - plc->heard_at <= plc->patience_ms)
        return;
    /* On a slow wire connecting alone takes longer than SILENCE_MS: a socket that is always replaced
     * so soon would never connect. */
    plc->heard_at = now;
    if (plc->patience_ms < SILENCE_MAX_MS)
        plc->patience_ms *= 2;
    zmq_close(plc->socket);
    plc->socket = new_socket(plc->context, plc->config);
    plc->reconnects++;
}

static void send_text(struct plc *plc, const char *text)
{
    /* That it was taken means nothing, and that it was not is nothing to do about: what counts is
     * the answer, and the own timer. */
    if (plc->socket != NULL)
        zmq_send(plc->socket, text, strlen(text), ZMQ_DONTWAIT);
}

static void beat(struct plc *plc, int64_t now)
{
    if (now < plc->beat_at)
        return;
    plc->beat_at = now + HEARTBEAT_MS;
    cJSON *message = new_message(plc, "Heartbeat");
    add_number(message, "counter", ++plc->beat_counter);
    char *text = cJSON_PrintUnformatted(message);
    cJSON_Delete(message);
    if (text != NULL)
        send_text(plc, text);
    free(text);
}

static void forget_request(struct plc *plc)
{
    free(plc->request);
    plc->request = NULL;
    plc->request_seq = 0;
}

/* Make a message the one that is sent until it is answered. Takes it over. */
static bool ask(struct plc *plc, cJSON *message, int64_t seq)
{
    forget_request(plc);
    add_number(message, "seq", seq);
    plc->request = cJSON_PrintUnformatted(message);
    cJSON_Delete(message);
    plc->request_seq = seq;
    plc->send_at = 0;
    return plc->request != NULL;
}

/* ---------------------------------------------------------------------------------- a part */

static void done(struct plc *plc, enum plc_action action, const char *reason)
{
    plc->outcome.action = action;
    snprintf(plc->outcome.reason, sizeof plc->outcome.reason, "%s", reason);
    plc->outcome.milliseconds = now_ms() - plc->started;
    plc->state = PLC_DONE;
    forget_request(plc);
}

static void hold(struct plc *plc, const char *reason)
{
    done(plc, PLC_HOLD, reason);
}

static void ask_begin(struct plc *plc)
{
    plc->state = PLC_BEGIN;
    plc->started = now_ms();
    plc->until = plc->started + plc->config->timeout_ms;
    if (!plc->resumed) {
        /* A PLC whose memory was lost goes on where the station has seen it last. */
        if (plc->memory.next_seq <= plc->last_seq)
            plc->memory.next_seq = plc->last_seq + 1;
        plc->memory.begin_seq = plc->memory.next_seq;
        snprintf(plc->memory.part, sizeof plc->memory.part, "%s", plc->outcome.part);
        if (take_seq(plc) == 0) {
            hold(plc, "the retentive memory cannot be written");
            return;
        }
    }
    cJSON *begin = new_message(plc, "Begin");
    cJSON_AddStringToObject(begin, "part", plc->outcome.part);
    cJSON_AddStringToObject(begin, "plan", plc->config->plan);
    if (!ask(plc, begin, plc->memory.begin_seq))
        hold(plc, "out of memory");
}

/* TriggerView, End, GetVerdict and Ack: all name the run, and spend a number. */
static void ask_about_run(struct plc *plc, enum plc_state state, const char *type)
{
    int64_t seq = take_seq(plc);
    if (seq == 0) {
        hold(plc, "the retentive memory cannot be written");
        return;
    }
    plc->state = state;
    cJSON *message = new_message(plc, type);
    cJSON_AddStringToObject(message, "run", plc->begun.run);
    if (state == PLC_TRIGGER)
        cJSON_AddStringToObject(message, "view", plc->config->views[plc->view]);
    if (state == PLC_ASK)
        cJSON_AddStringToObject(message, "part", plc->outcome.part);
    if (state == PLC_ACK)
        add_number(message, "verdict_seq", plc->outcome.verdict_seq);
    if (!ask(plc, message, seq))
        hold(plc, "out of memory");
}

static void next_view(struct plc *plc)
{
    if (plc->view < plc->config->view_count)
        ask_about_run(plc, PLC_TRIGGER, "TriggerView");
    else if (plc->config->view_count > 0)
        ask_about_run(plc, PLC_END, "End");
    else
        ask_about_run(plc, PLC_ASK, "GetVerdict");
}

static void note_problem(struct plc *plc, const char *what, const char *said)
{
    if (plc->problem[0] == '\0')
        snprintf(plc->problem, sizeof plc->problem, "%.60s: %.90s", what, said);
}

/* "fault 111: text" of a Refusal, or the type of anything else that came instead. */
static void describe(const cJSON *answer, char *text, size_t size)
{
    int64_t fault = 0;
    char said[120] = "", type[40] = "";
    read_text(answer, "type", type, sizeof type);
    if (read_number(answer, "fault", &fault) && !read_text(answer, "text", said, sizeof said))
        snprintf(said, sizeof said, "(no text)");
    if (fault != 0)
        snprintf(text, size, "fault %" PRId64 ": %s", fault, said);
    else
        snprintf(text, size, "%s", type);
}

static void on_begun(struct plc *plc, const cJSON *answer)
{
    char text[180], reason[220];
    struct begun begun = {"", "", 0};
    bool mine = text_is(answer, "type", "Begun") && text_is(answer, "part", plc->outcome.part) &&
                text_is(answer, "plan", plc->config->plan) &&
                read_text(answer, "run", begun.run, sizeof begun.run) &&
                read_text(answer, "plan_hash", begun.plan_hash, sizeof begun.plan_hash) &&
                read_number(answer, "planned", &begun.planned);
    if (!mine) {
        describe(answer, text, sizeof text);
        snprintf(reason, sizeof reason, "not begun: %s", text);
        hold(plc, reason);
        return;
    }
    plc->begun = begun;
    memcpy(plc->outcome.run, begun.run, sizeof begun.run);
    plc->view = 0;
    next_view(plc);
}

static void on_triggered(struct plc *plc, const cJSON *answer)
{
    char text[180];
    const char *view = plc->config->views[plc->view];
    if (text_is(answer, "type", "Busy")) {
        plc->send_at = now_ms() + POLL_MS;
        return;
    }
    bool acquired = text_is(answer, "type", "Acquired") && text_is(answer, "view", view) &&
                    text_is(answer, "run", plc->begun.run);
    if (!acquired) {
        describe(answer, text, sizeof text);
        note_problem(plc, view, text);
    }
    plc->view++; /* here a robot would move */
    next_view(plc);
}

static void on_ended(struct plc *plc, const cJSON *answer)
{
    char text[180];
    if (text_is(answer, "type", "Busy")) {
        plc->send_at = now_ms() + POLL_MS;
        return;
    }
    if (!text_is(answer, "type", "Ended") || !text_is(answer, "run", plc->begun.run)) {
        describe(answer, text, sizeof text);
        note_problem(plc, "End", text);
    }
    ask_about_run(plc, PLC_ASK, "GetVerdict");
}

/* Rule 1, all of it. Returns why the verdict is not to be used; NULL: it is this part's verdict,
 * fresh and consistent, and *action says what it comes to. */
static const char *decide(struct plc *plc, const cJSON *verdict, enum plc_action *action)
{
    struct plc_outcome *out = &plc->outcome;
    int64_t verdict_seq = 0;
    bool valid = false, ok = false, nok = false, is_hold = false;
    *action = PLC_HOLD;
    if (!text_is(verdict, "type", "PartVerdict"))
        return "the question for the verdict was refused";
    bool complete = read_bool(verdict, "result_valid", &valid) && read_bool(verdict, "ok", &ok) &&
                    read_bool(verdict, "nok", &nok) && read_bool(verdict, "hold", &is_hold) &&
                    read_number(verdict, "verdict_seq", &verdict_seq) &&
                    read_number(verdict, "planned", &out->planned) &&
                    read_number(verdict, "points_ok", &out->points_ok) &&
                    read_number(verdict, "points_nok", &out->points_nok) &&
                    read_number(verdict, "points_review", &out->points_review) &&
                    read_number(verdict, "points_not_inspected", &out->points_not_inspected);
    if (!complete)
        return "the verdict lacks a field";
    if (!valid)
        return "no verdict in time";
    if (!text_is(verdict, "part", out->part) || !text_is(verdict, "run", plc->begun.run) ||
        !text_is(verdict, "plan", plc->config->plan) ||
        !text_is(verdict, "plan_hash", plc->begun.plan_hash))
        return "the verdict is of another part, run or plan";
    if (ok + nok + is_hold != 1)
        return "not exactly one of ok, nok and hold";
    /* The verdict of a part that stood here during a restart may be on the disk as used and not be
     * acknowledged: it is taken once more, and the part is held all the same. */
    if (verdict_seq < plc->memory.last_verdict_seq ||
        (verdict_seq == plc->memory.last_verdict_seq && !plc->resumed))
        return "the verdict is not newer than the last one";
    if (!heartbeat_is_fresh(plc))
        return "the station's heartbeat stands still";
    out->verdict_seq = verdict_seq;
    if (nok)
        *action = PLC_DIVERT;
    else if (ok && !plc->resumed && plc->problem[0] == '\0' && out->planned > 0 &&
             out->points_ok == out->planned && out->planned == plc->begun.planned)
        *action = PLC_RELEASE;
    if (*action != PLC_HOLD)
        snprintf(out->reason, sizeof out->reason, "%s", ok ? "OK" : "NOK");
    else if (is_hold)
        snprintf(out->reason, sizeof out->reason, "HOLD");
    else if (plc->resumed)
        snprintf(out->reason, sizeof out->reason, "restarted while the part stood here");
    else if (plc->problem[0] != '\0')
        snprintf(out->reason, sizeof out->reason, "%s", plc->problem);
    else
        snprintf(out->reason, sizeof out->reason, "OK, but not every planned point is");
    return NULL;
}

static void on_verdict(struct plc *plc, const cJSON *answer)
{
    const char *not_used = decide(plc, answer, &plc->outcome.action);
    if (not_used != NULL) {
        /* Ask until the own timer is up: a late heartbeat may move again, a verdict may come. */
        snprintf(plc->waits_for, sizeof plc->waits_for, "%s", not_used);
        plc->send_at = now_ms() + POLL_MS;
        return;
    }
    /* Used once: on the disk before it is acknowledged and before anybody acts on it (rule 6). */
    plc->memory.last_verdict_seq = plc->outcome.verdict_seq;
    ask_about_run(plc, PLC_ACK, "Ack");
}

static void on_acknowledged(struct plc *plc, const cJSON *answer)
{
    char text[180], reason[220];
    int64_t fault = 0, verdict_seq = 0;
    if (text_is(answer, "type", "Acknowledged") && text_is(answer, "run", plc->begun.run) &&
        read_number(answer, "verdict_seq", &verdict_seq) &&
        verdict_seq == plc->outcome.verdict_seq) {
        plc->outcome.acknowledged = true;
        snprintf(reason, sizeof reason, "%.200s", plc->outcome.reason);
        done(plc, plc->outcome.action, reason);
        return;
    }
    if (read_number(answer, "fault", &fault) && fault == STALE_VERDICT) {
        /* Revised in between. The newer one replaces it. */
        ask_about_run(plc, PLC_ASK, "GetVerdict");
        return;
    }
    describe(answer, text, sizeof text);
    snprintf(reason, sizeof reason, "not acknowledged: %s", text);
    hold(plc, reason);
}

bool plc_start(struct plc *plc, const char *part)
{
    size_t length = strlen(part);
    if (plc->state != PLC_IDLE || length == 0 || length >= PLC_ID_SIZE)
        return false;
    for (size_t at = 0; at < length; at++) {
        char c = part[at];
        bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!alphanumeric && (at == 0 || strchr("._-", c) == NULL))
            return false;
    }
    memset(&plc->outcome, 0, sizeof plc->outcome);
    memset(&plc->begun, 0, sizeof plc->begun);
    memcpy(plc->outcome.part, part, length + 1);
    plc->problem[0] = '\0';
    snprintf(plc->waits_for, sizeof plc->waits_for, "no verdict in time");
    plc->resumed = strcmp(plc->memory.part, part) == 0;
    plc->started = now_ms();
    plc->until = plc->started + plc->config->ready_timeout_ms;
    plc->state = PLC_WAIT_READY;
    return true;
}

bool plc_finish(struct plc *plc)
{
    plc->state = PLC_IDLE;
    plc->memory.part[0] = '\0';
    return memorise(plc);
}

const struct plc_outcome *plc_outcome(const struct plc *plc)
{
    return &plc->outcome;
}

int64_t plc_reconnects(const struct plc *plc)
{
    return plc->reconnects;
}

/* ------------------------------------------------------------------------------------ a scan */

static void on_status(struct plc *plc, const cJSON *status, int64_t now)
{
    int64_t heartbeat = 0;
    if (!read_number(status, "heartbeat", &heartbeat) ||
        !read_number(status, "last_seq", &plc->last_seq) ||
        !read_bool(status, "ready", &plc->ready)) {
        plc->ready = false;
        return;
    }
    if (!read_text(status, "text", plc->status_text, sizeof plc->status_text))
        plc->status_text[0] = '\0';
    if (heartbeat != plc->station_beat) {
        plc->station_beat = heartbeat;
        plc->beat_moved_at = now;
    }
}

static void on_answer(struct plc *plc, const cJSON *answer)
{
    int64_t seq = 0;
    if (text_is(answer, "type", "VerdictReady")) {
        if (plc->state == PLC_ASK)
            plc->send_at = 0; /* only a hint: what counts is the answer to the next question */
        return;
    }
    /* An answer to another number is from the past. */
    if (plc->request == NULL || !read_number(answer, "seq", &seq) || seq != plc->request_seq)
        return;
    plc->send_at = now_ms() + RETRY_MS;
    switch (plc->state) {
    case PLC_BEGIN: on_begun(plc, answer); break;
    case PLC_TRIGGER: on_triggered(plc, answer); break;
    case PLC_END: on_ended(plc, answer); break;
    case PLC_ASK: on_verdict(plc, answer); break;
    case PLC_ACK: on_acknowledged(plc, answer); break;
    case PLC_IDLE:
    case PLC_WAIT_READY:
    case PLC_DONE: break;
    }
}

/* One frame, if there is one. A message of several frames, one that is too long and one that is no
 * JSON of this protocol are no message of ours. */
static bool receive(struct plc *plc)
{
    char frame[FRAME_SIZE];
    int more = 0;
    size_t size = sizeof more;
    int length = plc->socket == NULL ? -1 : zmq_recv(plc->socket, frame, sizeof frame, ZMQ_DONTWAIT);
    if (length < 0)
        return false;
    bool alone = true;
    while (zmq_getsockopt(plc->socket, ZMQ_RCVMORE, &more, &size) == 0 && more) {
        alone = false;
        if (zmq_recv(plc->socket, frame, sizeof frame, ZMQ_DONTWAIT) < 0)
            break;
    }
    if (!alone || (size_t)length > sizeof frame)
        return true;
    cJSON *message = cJSON_ParseWithLength(frame, (size_t)length);
    int64_t protocol = 0, now = now_ms();
    if (read_number(message, "protocol", &protocol) && protocol == PROTOCOL) {
        plc->heard_at = now;
        plc->patience_ms = SILENCE_MS;
        if (text_is(message, "type", "Status"))
            on_status(plc, message, now);
        else
            on_answer(plc, message);
    }
    cJSON_Delete(message);
    return true;
}

static void on_time(struct plc *plc, int64_t now)
{
    char reason[220];
    switch (plc->state) {
    case PLC_IDLE:
    case PLC_DONE:
        return;
    case PLC_WAIT_READY:
        if (plc->ready && heartbeat_is_fresh(plc)) {
            ask_begin(plc);
        } else if (now >= plc->until) {
            snprintf(reason, sizeof reason, "station not ready: %s",
                     heartbeat_is_fresh(plc) ? plc->status_text : "no answer");
            hold(plc, reason);
        }
        return;
    case PLC_ASK:
        if (now >= plc->until)
            hold(plc, plc->waits_for);
        return;
    case PLC_BEGIN:
    case PLC_TRIGGER:
    case PLC_END:
    case PLC_ACK:
        if (now >= plc->until)
            hold(plc, "no answer in time");
        return;
    }
}

enum plc_state plc_cycle(struct plc *plc, int wait_ms)
{
    int64_t now = now_ms();
    replace_silent_socket(plc, now);
    beat(plc, now);
    on_time(plc, now);
    if (plc->request != NULL && now >= plc->send_at) {
        send_text(plc, plc->request);
        plc->send_at = now + RETRY_MS;
    }
    zmq_pollitem_t item = {plc->socket, 0, ZMQ_POLLIN, 0};
    if (plc->socket != NULL)
        zmq_poll(&item, 1, wait_ms);
    while (receive(plc))
        ;
    return plc->state;
}

/* -------------------------------------------------------------------------------- open, close */

struct plc *plc_open(const struct plc_config *config)
{
    struct plc *plc = calloc(1, sizeof *plc);
    if (plc == NULL)
        return NULL;
    plc->config = config;
    plc->state = PLC_IDLE;
    plc->station_beat = -1;
    plc->heard_at = now_ms();
    plc->patience_ms = SILENCE_MS;
    plc->context = zmq_ctx_new();
    plc->socket = plc->context == NULL ? NULL : new_socket(plc->context, config);
    if (plc->socket == NULL) {
        int why = errno;
        plc_close(plc);
        errno = why;
        return NULL;
    }
    recall(plc);
    return plc;
}

void plc_close(struct plc *plc)
{
    forget_request(plc);
    if (plc->socket != NULL)
        zmq_close(plc->socket);
    if (plc->context != NULL)
        zmq_ctx_term(plc->context);
    free(plc);
}
