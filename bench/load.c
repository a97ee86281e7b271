/* The bench's load: sends one request again and again, and measures what comes back.
 *
 *   load PORT TARGET BODY CONNECTIONS COUNT RATE [HEADER]...
 *
 * A TARGET behind `ws:` is asked over WebSockets, a message an exchange.
 * RATE is exchanges a second, whether answers come or not (an exchange counts from when it was due);
 * 0: each connection sends the next as soon as the last is answered. Each run of 16 `@` in the body
 * is filled with digits never sent before. Prints one JSON object; times are in microseconds. */
#include "net.h"

enum { MARK_BYTES = 16, HEAD_BYTES = 8192, READ_BYTES = 262144, CHUNK_END_BYTES = 2 };

enum { OPENING_BYTES = 28 };

enum state { HEAD, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, LAST_CHUNK_END, FRAME_HEAD, FRAME };

struct connection {
    int socket;
    bool busy;
    char *request;
    size_t sent;
    uint64_t due;
    enum state state;
    bool chunked;
    size_t head_length, left;   /* of the body or chunk */
    char head[HEAD_BYTES];
    int digits_left;            /* of a stamp that is being read */
    uint64_t stamp;
};

struct samples { uint64_t *ns; size_t count, room; };

static int epoll, timer;
static struct connection *connections;
static char *request;
static char handshake[HEAD_BYTES];
static bool over_sockets;
static size_t request_length, mark_count, *marks;
static long count, begun, ended;
static double rate;
static uint64_t start, now;
static struct samples exchanges, events;

static void note(struct samples *samples, uint64_t ns) {
    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 4096;
        samples->ns = realloc(samples->ns, samples->room * sizeof *samples->ns);
        if (!samples->ns) die("no memory");
    }
    samples->ns[samples->count++] = ns;
}

/* splitmix64: digits that no compression foresees. */
static uint64_t fresh(void) {
    static uint64_t seed;
    if (!seed) seed = now_ns();
    uint64_t mixed = seed += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

static void fill_marks(char *text) {
    for (size_t i = 0; i < mark_count; i++) {
        char digits[MARK_BYTES + 1];
        snprintf(digits, sizeof digits, "%016llx", (unsigned long long)fresh());
        memcpy(text + marks[i], digits, MARK_BYTES);
    }
}

static void send_on(struct connection *c) {
    while (c->sent < request_length) {
        ssize_t sent = write(c->socket, c->request + c->sent, request_length - c->sent);
        if (sent < 0 && errno == EAGAIN) return;
        if (sent < 0) die("sending a request");
        c->sent += (size_t)sent;
    }
}

static void begin(struct connection *c, uint64_t due) {
    fill_marks(c->request);
    c->busy = true;
    c->due = due;
    c->sent = 0;
    c->state = over_sockets ? FRAME_HEAD : HEAD;
    c->head_length = 0;
    begun++;
    send_on(c);
}

/* Begins what is due, on whatever connections are free. */
static void begin_due(int connection_count) {
    for (int i = 0; i < connection_count && begun < count; i++) {
        if (connections[i].busy) continue;
        uint64_t due = rate > 0 ? start + (uint64_t)((double)begun * 1e9 / rate) : now;
        if (due > now) {
            struct itimerspec at = { .it_value = timespec_of(due) };
            if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) < 0) die("setting the timer");
            return;
        }
        begin(&connections[i], due);
    }
}

static void end(struct connection *c) {
    if (c->sent < request_length) die("an answer ended before its request");
    note(&exchanges, now - c->due);
    c->busy = false;
    ended++;
}

/* Reads the stamps in a piece of an answer. */
static void take_body(struct connection *c, const char *bytes, size_t length) {
    const char *stop = bytes + length;
    while (bytes < stop) {
        if (c->digits_left == 0) {
            bytes = memchr(bytes, STAMP_MARK, (size_t)(stop - bytes));
            if (!bytes) return;
            bytes++;
            c->digits_left = STAMP_DIGITS;
            c->stamp = 0;
            continue;
        }
        c->stamp = c->stamp * 10 + (uint64_t)(*bytes++ - '0');
        if (--c->digits_left == 0) note(&events, now - c->stamp);
    }
}

static void read_head(struct connection *c) {
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0) errno = 0, die("not answered with 200:\n%s", c->head);
    const char *stated = strcasestr(c->head, "\ncontent-length:");
    c->left = stated ? strtoul(stated + 16, NULL, 10) : 0;
    c->state = stated ? BODY : CHUNK_SIZE;
    if (!stated && !strcasestr(c->head, "\ntransfer-encoding: chunked")) die("an answer without a length");
}

/* A server's frame: two bytes, and the length where they cannot hold it. */
static void take_frame_head(struct connection *c, char byte) {
    c->head[c->head_length++] = byte;
    size_t code = c->head_length < 2 ? 0 : (size_t)c->head[1] & 127;
    size_t extended = code == 127 ? 8 : code == 126 ? 2 : 0;
    if (c->head_length < 2 || c->head_length < 2 + extended) return;
    if ((c->head[0] & 15) != 1) errno = 0, die("a frame that is no text");
    c->left = extended ? 0 : code;
    for (size_t i = 0; i < extended; i++) c->left = c->left << 8 | (unsigned char)c->head[2 + i];
    c->state = FRAME;
    c->head_length = 0;
}

/* Takes a piece of a message; the one whose beginning says so is the last. */
static void take_frame(struct connection *c, const char *bytes, size_t length) {
    for (size_t i = 0; i < length && c->head_length < OPENING_BYTES; i++) c->head[c->head_length++] = bytes[i];
    take_body(c, bytes, length);
    c->left -= length;
    if (c->left) return;
    bool last = c->head_length == OPENING_BYTES && !memcmp(c->head, "{\"type\":\"response.completed\"", OPENING_BYTES);
    c->state = FRAME_HEAD;
    c->head_length = 0;
    if (last) end(c);
}

/* Takes one step in the framing; tells how many bytes it used. */
static size_t step(struct connection *c, const char *bytes, size_t length) {
    size_t used = length < c->left ? length : c->left;
    char byte = bytes[0];
    switch (c->state) {
    case HEAD:
        if (c->head_length == HEAD_BYTES - 1) die("an answer's head is too long");
        c->head[c->head_length++] = byte;
        c->head[c->head_length] = 0;
        if (byte == '\n' && c->head_length > 3 && !memcmp(c->head + c->head_length - 4, "\r\n\r\n", 4)) read_head(c);
        return 1;
    case CHUNK_SIZE:
        if (byte >= '0' && byte <= '9') c->left = c->left * 16 + (size_t)(byte - '0');
        else if ((byte | 32) >= 'a' && (byte | 32) <= 'f') c->left = c->left * 16 + (size_t)((byte | 32) - 'a' + 10);
        else if (byte == '\n' && c->left) c->state = CHUNK;
        else if (byte == '\n') c->state = LAST_CHUNK_END, c->left = CHUNK_END_BYTES;
        return 1;
    case CHUNK:
        take_body(c, bytes, used);
        c->left -= used;
        if (!c->left) c->state = CHUNK_END, c->left = CHUNK_END_BYTES;
        return used;
    case CHUNK_END:
        c->left -= used;
        if (!c->left) c->state = CHUNK_SIZE;
        return used;
    case FRAME_HEAD:
        take_frame_head(c, byte);
        return 1;
    case FRAME:
        take_frame(c, bytes, used);
        return used;
    case BODY:
        take_body(c, bytes, used);
        /* fall through */
    case LAST_CHUNK_END:
        c->left -= used;
        if (!c->left) end(c);
        return used;
    }
    return length;
}

static void on_socket(struct connection *c) {
    static char bytes[READ_BYTES];
    if (c->busy) send_on(c);
    for (ssize_t length = READ_BYTES; length == READ_BYTES;) {
        length = read(c->socket, bytes, READ_BYTES);
        if (length < 0 && errno == EAGAIN) return;
        if (length < 0) die("reading an answer");
        if (length == 0) errno = 0, die("a connection was closed after %ld answers", ended);
        now = now_ns();
        for (size_t used = 0; used < (size_t)length;) {
            if (!c->busy) errno = 0, die("bytes after an answer: %.*s", (int)length, bytes);
            used += step(c, bytes + used, (size_t)length - used);
        }
    }
}

static char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) < 0) die("reading %s", path);
    *length = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(*length + 1, 1);
    if (!text || fread(text, 1, *length, file) != *length) die("reading %s", path);
    fclose(file);
    return text;
}

static size_t put_headers(char *text, size_t length, int header_count, char **headers) {
    for (int i = 0; i < header_count; i++)
        length += (size_t)snprintf(text + length, HEAD_BYTES - length, "%s\r\n", headers[i]);
    return length + (size_t)sprintf(text + length, "\r\n");
}

/* A masked frame; the mask is nothing, so that the payload stands there as it is. */
static size_t put_frame_head(char *text, size_t body_length) {
    memset(text, 0, 14);
    text[0] = (char)0x81;
    text[1] = (char)0xff;
    for (size_t i = 0; i < 8; i++) text[9 - i] = (char)(body_length >> (8 * i));
    return 14;
}

static size_t make_head(char **arguments, size_t body_length, int header_count, char **headers) {
    if (over_sockets) {
        int length = sprintf(handshake, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: Upgrade\r\n"
                             "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " SOCKET_KEY "\r\n",
                             arguments[2] + 3, arguments[1]);
        put_headers(handshake, (size_t)length, header_count, headers);
        return put_frame_head(request, body_length);
    }
    int length = sprintf(request, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nContent-Type: application/json\r\n"
                              "Content-Length: %zu\r\n", arguments[2], arguments[1], body_length);
    return put_headers(request, (size_t)length, header_count, headers);
}

static void make_request(char **arguments, int header_count, char **headers) {
    size_t body_length;
    char *body = read_file(arguments[3], &body_length);
    request = malloc(HEAD_BYTES + body_length);
    if (!request) die("no memory");
    over_sockets = !strncmp(arguments[2], "ws:", 3);
    size_t length = make_head(arguments, body_length, header_count, headers);
    memcpy(request + length, body, body_length);
    request_length = length + body_length;
    marks = calloc(request_length / MARK_BYTES + 1, sizeof *marks);
    for (size_t at = length; marks && at + MARK_BYTES <= request_length;) {
        bool mark = !memcmp(request + at, "@@@@@@@@@@@@@@@@", MARK_BYTES);
        if (mark) marks[mark_count++] = at;
        at += mark ? MARK_BYTES : 1;
    }
    free(body);
}

/* Shakes hands before anything is measured. */
static void open_socket(int socket) {
    char head[HEAD_BYTES] = "";
    size_t length = 0;
    if (write(socket, handshake, strlen(handshake)) < 0) die("shaking hands");
    while (length < HEAD_BYTES - 1 && !strstr(head, "\r\n\r\n")) {
        if (read(socket, head + length++, 1) != 1) die("shaking hands, after %s", head);
    }
    if (strncmp(head, "HTTP/1.1 101", 12) != 0) errno = 0, die("not answered with 101:\n%s", head);
}

static void connect_all(int port, int connection_count) {
    struct sockaddr_in address = loopback(port);
    connections = calloc((size_t)connection_count, sizeof *connections);
    for (int i = 0; i < connection_count; i++) {
        struct connection *c = &connections[i];
        c->socket = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c->socket, (struct sockaddr *)&address, sizeof address) < 0) die("connecting to port %d", port);
        if (over_sockets) open_socket(c->socket);
        tune(c->socket);
        watch(epoll, c->socket, EPOLLIN | EPOLLOUT, (uint64_t)i);
        c->request = malloc(request_length);
        if (!c->request) die("no memory");
        memcpy(c->request, request, request_length);
    }
}

static int by_size(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void print_samples(const char *name, struct samples *samples) {
    size_t last = samples->count - 1;
    if (!samples->count) return;
    qsort(samples->ns, samples->count, sizeof *samples->ns, by_size);
    printf(",\"%s\":{\"count\":%zu,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name, samples->count,
           (double)samples->ns[last / 2] / 1e3, (double)samples->ns[last * 99 / 100] / 1e3,
           (double)samples->ns[last] / 1e3);
}

int main(int argc, char **argv) {
    if (argc < 7) errno = 0, die("usage: load PORT TARGET BODY CONNECTIONS COUNT RATE [HEADER]...");
    take_all_files();
    int connection_count = atoi(argv[4]);
    count = atol(argv[5]);
    rate = atof(argv[6]);
    epoll = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(epoll, timer, EPOLLIN, (uint64_t)connection_count);
    make_request(argv, argc - 7, argv + 7);
    connect_all(atoi(argv[1]), connection_count);
    start = now = now_ns();
    while (ended < count) {
        begin_due(connection_count);
        struct epoll_event ready[256];
        int ready_count = epoll_wait(epoll, ready, 256, 30000);
        if (ready_count == 0) errno = 0, die("nothing came for 30 s, after %ld answers", ended);
        for (int i = 0; i < ready_count; i++)
            if (ready[i].data.u64 < (uint64_t)connection_count) on_socket(&connections[ready[i].data.u64]);
        now = now_ns();
    }
    printf("{\"seconds\":%.3f", (double)(now - start) / 1e9);
    print_samples("exchange", &exchanges);
    print_samples("event", &events);
    puts("}");
}
