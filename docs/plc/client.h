/* Reference client of the handshake in ../plc.md, for a PLC that can run C or for whoever ports it.
 *
 * It is written as a PLC program is: one state machine, called every few milliseconds, that never
 * blocks longer than it is told to. C99 and POSIX; libzmq and cJSON as Debian ships them:
 *
 *     apt-get install gcc libzmq3-dev libcjson-dev
 *
 *     CFLAGS = -std=c99 -Wall -Wextra -Wpedantic -Werror -O2
 *     plc-client: main.c client.c client.h
 *             $(CC) $(CFLAGS) -o $@ main.c client.c -lzmq -lcjson
 *
 * Use:
 *
 *     plc_start(plc, "BODY-0001");
 *     while (plc_cycle(plc, 10) != PLC_DONE) { ... the rest of your scan ... }
 *     switch (plc_outcome(plc)->action) { case PLC_RELEASE: ... }
 *     plc_finish(plc);
 *
 * Whatever goes wrong holds the part: PLC_RELEASE is given on one path alone, in client.c, decide().
 */
#ifndef INSPECTION_PLC_CLIENT_H
#define INSPECTION_PLC_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLC_ID_SIZE 65 /* an identifier has at most 64 characters */

enum plc_state {
    PLC_IDLE,       /* no part */
    PLC_WAIT_READY, /* a part stands here; waiting for a station that is ready */
    PLC_BEGIN,      /* Begin is sent */
    PLC_TRIGGER,    /* TriggerView is sent, for one view after the other */
    PLC_END,        /* End is sent */
    PLC_ASK,        /* GetVerdict is sent, until a verdict is valid */
    PLC_ACK,        /* Ack is sent */
    PLC_DONE        /* plc_outcome() says what to do with the part */
};

enum plc_action { PLC_HOLD, PLC_RELEASE, PLC_DIVERT };

struct plc_config {
    const char *endpoint;     /* the station's listen.plc, "tcp://127.0.0.1:5703" */
    const char *plc;          /* this PLC's own name */
    const char *plan;         /* the plan of the parts */
    const char *memory_file;  /* retentive memory: a file on a disk that survives power loss */
    const char *const *views; /* the views this PLC triggers, in the order its robot takes them */
    size_t view_count;
    int64_t timeout_ms;       /* own timer for a part from Begin on; longer than the deadline */
    int64_t ready_timeout_ms; /* how long a part waits for a station that is not ready */
    const char *own_secret;   /* CURVE keys in Z85, 40 characters each: this PLC's private key, */
    const char *station_key;  /* and the station's public one. NULL: not encrypted (loopback) */
};

struct plc_outcome {
    enum plc_action action;
    char reason[256];
    char part[PLC_ID_SIZE];
    char run[PLC_ID_SIZE];
    int64_t verdict_seq;
    bool acknowledged;
    int64_t planned, points_ok, points_nok, points_review, points_not_inspected;
    int64_t milliseconds;
};

struct plc;

/* NULL, with errno, where there is no memory or no socket. The configuration must outlive it. */
struct plc *plc_open(const struct plc_config *config);
void plc_close(struct plc *plc);

/* A part stands in front of the station. False while another part is not finished, and for a part
 * whose name is no identifier. A part that stood here when the program was stopped is taken up with
 * the same question, and held: nobody can say whether it was touched. */
bool plc_start(struct plc *plc, const char *part);

/* One scan; waits for a message for at most wait_ms. Call it without a part, too: it keeps the
 * heartbeat going. */
enum plc_state plc_cycle(struct plc *plc, int wait_ms);

/* What to do with the part; valid in PLC_DONE only. */
const struct plc_outcome *plc_outcome(const struct plc *plc);

/* The outcome has been carried out: the part is forgotten. False where the retentive memory cannot
 * be written: stop, no further part can be begun. */
bool plc_finish(struct plc *plc);

/* How often the socket was replaced after silence, for a display. */
int64_t plc_reconnects(const struct plc *plc);

#endif
