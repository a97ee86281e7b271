/* The bench's upstream: answers each POST, and each message of a WebSocket that a GET has opened, as
 * its query says, and costs as little as it can.
 *
 *   answer=json                  a JSON document of about 1 KB
 *   answer=burst&events=N        N events as fast as they are taken, many chunks to a write
 *   answer=writes&events=N       the same, each chunk a write of its own
 *   answer=paced&events=N&gap=G  an event every G microseconds
 *
 * Each event is a chunk or a frame of its own. Prints its port and serves until its standard input ends. */
#include "net.h"

enum { HEAD_BYTES = 16384, READ_BYTES = 262144, MOST_CONNECTIONS = 16384 };
/* Gathered writes are as long as a TLS record: so a real answer arrives. */
enum { GATHER = 16384, LONGEST_UNIT = 4096 };

/* A client's frame: two bytes, eight of length, four of mask. */
enum { FRAME_HEAD_BYTES = 14 };

enum answer { JSON, BURST, WRITES, PACED };

struct connection {
    int socket, timer;
    bool answering, is_socket;
    enum answer answer;
    long units, unit;       /* the head, the events, the end; which comes next */
    size_t body_left;       /* of the request */
    size_t head_length, begin, end;
    char head[HEAD_BYTES];
    char out[GATHER + LONGEST_UNIT];
};

static struct connection *connections[MOST_CONNECTIONS];
static int epoll;

static const char JSON_BODY[] =
    "{\"id\":\"resp_0123456789abcdef0123456789abcdef\",\"object\":\"response\",\"created_at\":1780000000,"
    "\"status\":\"completed\",\"model\":\"gpt-5.1-codex\",\"output\":[{\"id\":\"msg_0123456789abcdef\","
    "\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":"
    "\"output_text\",\"annotations\":[],\"text\":\"The parser keeps the last piece of a line until the "
    "next one comes. When a stream ends in the middle of a line, what is kept is lost: `finish` never "
    "looks at it. I would let `finish` return the rest, and let the caller decide whether half a line "
    "is an error. Two tests show it: one ends after a newline, one before. The second fails today. "
    "Shall I write the change? It touches `reader.rs` and its two callers, nothing else.\"}]}],"
    "\"parallel_tool_calls\":true,\"previous_response_id\":null,\"reasoning\":{\"effort\":\"medium\"},"
    "\"store\":false,\"temperature\":1.0,\"tool_choice\":\"auto\",\"truncation\":\"disabled\",\"usage\":"
    "{\"input_tokens\":512,\"input_tokens_details\":{\"cached_tokens\":128},\"output_tokens\":96,"
    "\"output_tokens_details\":{\"reasoning_tokens\":16},\"total_tokens\":608},\"metadata\":{}}";

static const char SSE_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char SOCKET_HEAD[] =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: " SOCKET_ACCEPT "\r\n\r\n";
static const char CREATED[] =
    "{\"type\":\"response.created\",\"sequence_number\":0,\"response\":"
    "{\"id\":\"resp_0123456789abcdef\",\"object\":\"response\",\"status\":\"in_progress\",\"model\":"
    "\"gpt-5.1-codex\"}}";
static const char COMPLETED[] =
    "{\"type\":\"response.completed\",\"sequence_number\":1,\"response\":"
    "{\"id\":\"resp_0123456789abcdef\",\"object\":\"response\",\"status\":\"completed\",\"model\":"
    "\"gpt-5.1-codex\",\"output\":[],\"usage\":{\"input_tokens\":512,\"input_tokens_details\":"
    "{\"cached_tokens\":128},\"output_tokens\":96,\"output_tokens_details\":{\"reasoning_tokens\":16},"
    "\"total_tokens\":608}}}";

static void append(struct connection *c, const char *text, size_t length) {
    if (c->end + length > sizeof c->out) die("an answer's piece is too long");
    memcpy(c->out + c->end, text, length);
    c->end += length;
}

static void append_chunk(struct connection *c, const char *text, size_t length) {
    char size[16];
    append(c, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", length));
    append(c, text, length);
    append(c, "\r\n", 2);
}

/* A frame of a server: text, whole, not masked. */
static void append_frame(struct connection *c, const char *text, size_t length) {
    unsigned char head[4] = { 0x81, (unsigned char)length, (unsigned char)(length >> 8), (unsigned char)length };
    if (length > 125) head[1] = 126;
    append(c, (char *)head, length > 125 ? 4 : 2);
    append(c, text, length);
}

static void append_event(struct connection *c, const char *name, const char *data, size_t length) {
    char event[LONGEST_UNIT];
    if (c->is_socket) return append_frame(c, data, length);
    int whole = snprintf(event, sizeof event, "event: %s\ndata: %.*s\n\n", name, (int)length, data);
    append_chunk(c, event, (size_t)whole);
}

static void append_delta(struct connection *c) {
    char event[LONGEST_UNIT / 2];
    int length = snprintf(event, sizeof event,
        "{\"type\":\"response.output_text.delta\","
        "\"sequence_number\":%ld,\"item_id\":\"msg_0123456789abcdef0123456789abcdef\",\"output_index\":0,"
        "\"content_index\":0,\"delta\":\"%c%0*llu\",\"logprobs\":[],\"obfuscation\":\"Zk3uQ9x1\"}",
        c->unit, STAMP_MARK, STAMP_DIGITS, (unsigned long long)now_ns());
    append_event(c, "response.output_text.delta", event, (size_t)length);
}

static void append_json(struct connection *c) {
    char head[128];
    int length = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        sizeof JSON_BODY - 1);
    append(c, head, (size_t)length);
    append(c, JSON_BODY, sizeof JSON_BODY - 1);
}

/* Appends what comes next of the answer. */
static void append_unit(struct connection *c) {
    long unit = c->unit++;
    if (c->answer == JSON) {
        append_json(c);
    } else if (unit == 0) {
        if (!c->is_socket) append(c, SSE_HEAD, sizeof SSE_HEAD - 1);
        append_event(c, "response.created", CREATED, sizeof CREATED - 1);
    } else if (unit < c->units - 1) {
        append_delta(c);
    } else {
        append_event(c, "response.completed", COMPLETED, sizeof COMPLETED - 1);
        if (!c->is_socket) append(c, "0\r\n\r\n", 5);
    }
}

/* Writes what is ready; tells whether all of it is gone. */
static bool flush(struct connection *c) {
    while (c->begin < c->end) {
        ssize_t written = write(c->socket, c->out + c->begin, c->end - c->begin);
        if (written < 0 && errno == EAGAIN) return false;
        if (written < 0) die("writing an answer");
        c->begin += (size_t)written;
    }
    c->begin = c->end = 0;
    return true;
}

static void pace(struct connection *c, long gap_us) {
    struct timespec gap = timespec_of((uint64_t)gap_us * 1000);
    struct itimerspec times = { .it_interval = gap, .it_value = gap };
    if (timerfd_settime(c->timer, 0, &times, NULL) < 0) die("setting a timer");
}

/* Sends on with the answer, as far as it may go now. */
static void go_on(struct connection *c) {
    bool more = c->answer != PACED;
    while (flush(c)) {
        if (c->unit == c->units) {
            c->answering = false;
            pace(c, 0);
            return;
        }
        if (!more) return;
        size_t enough = c->answer == BURST ? GATHER : 1;
        while (c->unit < c->units && c->end < enough) append_unit(c);
    }
}

static long number(const char *query, const char *name, long otherwise) {
    const char *found = strstr(query, name);
    return found ? atol(found + strlen(name)) : otherwise;
}

/* Opens a WebSocket; its messages are answered as the query of its handshake says. */
static void open_socket(struct connection *c) {
    if (!strstr(c->head, SOCKET_KEY)) die("a handshake came with another key than the load's");
    append(c, SOCKET_HEAD, sizeof SOCKET_HEAD - 1);
    c->head[strcspn(c->head, "\r")] = 0;
    c->is_socket = true;
    c->head_length = 0;
    if (!flush(c)) die("a handshake's answer was not taken at once");
}

static void answer(struct connection *c) {
    c->head[strcspn(c->head, "\r")] = 0;
    c->answer = strstr(c->head, "answer=burst") ? BURST
              : strstr(c->head, "answer=writes") ? WRITES
              : strstr(c->head, "answer=paced") ? PACED : JSON;
    c->units = c->answer == JSON ? 1 : number(c->head, "events=", 1) + 2;
    c->unit = 0;
    c->answering = true;
    if (c->answer == PACED) {
        append_unit(c);
        pace(c, number(c->head, "gap=", 20000));
    }
    go_on(c);
}

/* Takes bytes of a request's head; what follows it is the beginning of the body. */
static void take_head(struct connection *c, const char *bytes, size_t length) {
    if (c->head_length + length >= HEAD_BYTES) length = HEAD_BYTES - 1 - c->head_length;
    size_t before = c->head_length;
    memcpy(c->head + before, bytes, length);
    c->head[before + length] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    c->head_length = before + length;
    if (!end) {
        if (c->head_length == HEAD_BYTES - 1) die("a request's head is too long");
        return;
    }
    *end = 0;
    if (strcasestr(c->head, "\nupgrade: websocket")) return open_socket(c);
    const char *stated = strcasestr(c->head, "\ncontent-length:");
    c->body_left = stated ? strtoul(stated + 16, NULL, 10) : 0;
    if (!stated) die("a request came without content-length");
}

/* Takes bytes of a client's frame; its head is gathered behind the query, which stays. */
static void take_frame(struct connection *c, const char *bytes, size_t length) {
    unsigned char *head = (unsigned char *)c->head + HEAD_BYTES - FRAME_HEAD_BYTES;
    while (length > 0) {
        size_t used = length < c->body_left ? length : c->body_left;
        if (!c->body_left) {
            head[c->head_length++] = (unsigned char)*bytes;
            used = 1;
            size_t extended = c->head_length < 2 ? 0 : (head[1] & 127) == 127 ? 8 : (head[1] & 127) == 126 ? 2 : 0;
            if (c->head_length >= 2 && c->head_length == 6 + extended) {
                c->head_length = 0;
                c->body_left = extended ? 0 : head[1] & 127;
                for (size_t i = 0; i < extended; i++) c->body_left = c->body_left << 8 | head[2 + i];
                if (!c->body_left) die("an empty frame came");
            }
        } else if (!(c->body_left -= used)) {
            if ((head[0] & 15) != 1) die("a frame came that is no text");
            if (c->answering) die("a message came before the answer to the last had ended");
            answer(c);
        }
        bytes += used;
        length -= used;
    }
}

static void take(struct connection *c, const char *bytes, size_t length) {
    if (c->is_socket) return take_frame(c, bytes, length);
    if (c->answering) die("a request came before the answer to the last had ended");
    if (!c->body_left) {
        size_t before = c->head_length;
        take_head(c, bytes, length);
        if (!c->body_left) return;
        size_t used = strlen(c->head) + 4 - before;
        bytes += used;
        length -= used;
        c->head_length = 0;
    }
    if (length > c->body_left) die("a request came before the last was answered");
    c->body_left -= length;
    if (!c->body_left) answer(c);
}

static void leave(int slot) {
    struct connection *c = connections[slot];
    close(c->socket);
    close(c->timer);
    free(c);
    connections[slot] = NULL;
}

static void on_socket(int slot) {
    static char bytes[READ_BYTES];
    struct connection *c = connections[slot];
    if (!c) return;
    for (ssize_t length = READ_BYTES; length == READ_BYTES;) {
        length = read(c->socket, bytes, READ_BYTES);
        if (length == 0 || (length < 0 && errno != EAGAIN)) return leave(slot);
        if (length > 0) take(c, bytes, (size_t)length);
    }
    if (c->answering) go_on(c);
}

static void on_timer(int slot) {
    struct connection *c = connections[slot];
    uint64_t times;
    if (!c || read(c->timer, &times, sizeof times) < 0 || !c->answering) return;
    append_unit(c);
    go_on(c);
}

static void welcome(int listener) {
    for (int slot = 0;; slot++) {
        while (slot < MOST_CONNECTIONS && connections[slot]) slot++;
        if (slot == MOST_CONNECTIONS) die("too many connections");
        int socket = accept(listener, NULL, NULL);
        if (socket < 0) return;
        tune(socket);
        struct connection *c = connections[slot] = calloc(1, sizeof *c);
        if (!c) die("no memory");
        c->socket = socket;
        c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        watch(epoll, c->timer, EPOLLIN, (uint64_t)slot << 1 | 1);
        watch(epoll, socket, EPOLLIN | EPOLLOUT, (uint64_t)slot << 1);
    }
}

static int listen_somewhere(void) {
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 4096) < 0) die("listening");
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) die("asking for the port");
    if (fcntl(listener, F_SETFL, O_NONBLOCK) < 0) die("making a socket non-blocking");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(void) {
    take_all_files();
    const uint64_t door = UINT64_MAX, input = UINT64_MAX - 1;
    epoll = epoll_create1(0);
    int listener = listen_somewhere();
    watch(epoll, listener, EPOLLIN, door);
    watch(epoll, STDIN_FILENO, EPOLLIN, input);
    for (;;) {
        struct epoll_event events[256];
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            uint64_t token = events[i].data.u64;
            if (token == input) return 0;
            if (token == door) welcome(listener);
            else if (token & 1) on_timer((int)(token >> 1));
            else on_socket((int)(token >> 1));
        }
    }
}
