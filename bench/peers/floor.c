/* The floor: a broadcast server that does nothing but what it must. One thread, epoll, one write
 * for each socket and message. usage: floor PORT PUBLISH_PORT
 *
 * It reads upgrades in one piece, ignores what clients send afterwards except for PING, and has no
 * buffer: where a socket is full it waits for it, 5 s at most, and drops it then. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MOST = 65536, LARGEST = 60000, PATIENCE_MS = 5000 };
enum { NOBODY, LISTENER, PUBLISH_LISTENER, PUBLISHER, NEW, SUBSCRIBER };

static unsigned char kind[MOST];
static int subscribers[MOST], place[MOST], count;

static uint32_t rotated(uint32_t x, int n) { return x << n | x >> (32 - n); }

/* SHA-1 of at most 119 bytes: two blocks. */
static void sha1(const unsigned char *text, size_t length, unsigned char digest[20]) {
    unsigned char block[128] = {0};
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}, w[80];
    int blocks = length < 56 ? 1 : 2;
    memcpy(block, text, length);
    block[length] = 0x80;
    for (int i = 0; i < 8; i++) block[blocks * 64 - 1 - i] = (unsigned char)(length * 8 >> (8 * i));
    for (int at = 0; at < blocks * 64; at += 64) {
        for (int i = 0; i < 16; i++) {
            const unsigned char *p = block + at + 4 * i;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
        for (int i = 16; i < 80; i++) w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20 ? ((b & c) | (~b & d)) + 0x5A827999
                       : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1
                       : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC
                                : (b ^ c ^ d) + 0xCA62C1D6;
            uint32_t next = rotated(a, 5) + f + e + w[i];
            e = d, d = c, c = rotated(b, 30), b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char digest[20], char text[29]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char padded[21] = {0};
    memcpy(padded, digest, 20);
    for (int i = 0; i < 7; i++) {
        uint32_t n = (uint32_t)padded[3 * i] << 16 | (uint32_t)padded[3 * i + 1] << 8 | padded[3 * i + 2];
        for (int j = 0; j < 4; j++) text[4 * i + j] = letters[n >> (18 - 6 * j) & 63];
    }
    text[27] = '=';
    text[28] = 0;
}

static void drop(int fd) {
    if (kind[fd] == SUBSCRIBER) {
        int last = subscribers[--count];
        subscribers[place[fd]] = last;
        place[last] = place[fd];
    }
    kind[fd] = NOBODY;
    close(fd);
}

static int put(int fd, const unsigned char *data, size_t length) {
    while (length) {
        ssize_t written = write(fd, data, length);
        if (written < 0) {
            struct pollfd full = {fd, POLLOUT, 0};
            if (errno != EAGAIN || poll(&full, 1, PATIENCE_MS) <= 0) return 0;
            continue;
        }
        data += written;
        length -= (size_t)written;
    }
    return 1;
}

static void broadcast(const unsigned char *message, size_t length) {
    static unsigned char framed[LARGEST + 4];
    size_t head = 2;
    framed[0] = 0x81;
    if (length < 126) {
        framed[1] = (unsigned char)length;
    } else {
        framed[1] = 126, framed[2] = (unsigned char)(length >> 8), framed[3] = (unsigned char)length;
        head = 4;
    }
    memcpy(framed + head, message, length);
    for (int i = count - 1; i >= 0; i--) {
        int fd = subscribers[i];
        if (!put(fd, framed, head + length)) drop(fd);
    }
}

static void published(int fd) {
    static unsigned char waiting[LARGEST + 4];
    static size_t length;
    ssize_t got = read(fd, waiting + length, sizeof waiting - length);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        length = 0;
        drop(fd);
        return;
    }
    length += (size_t)got;
    size_t at = 0;
    while (length - at >= 4) {
        uint32_t size;
        memcpy(&size, waiting + at, 4);
        size = ntohl(size);
        if (size > LARGEST) exit(1);
        if (length - at < 4 + size) break;
        broadcast(waiting + at + 4, size);
        at += 4 + size;
    }
    memmove(waiting, waiting + at, length -= at);
}

static void upgraded(int fd) {
    char request[4096], proof[128], answer[256];
    unsigned char digest[20];
    ssize_t got = read(fd, request, sizeof request - 1);
    if (got < 0 && errno == EAGAIN) return;
    if (got > 0) request[got] = 0;
    char *key = got > 0 ? strcasestr(request, "sec-websocket-key: ") : NULL;
    if (!key || !strstr(request, "\r\n\r\n")) {
        drop(fd);
        return;
    }
    snprintf(proof, sizeof proof, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    sha1((unsigned char *)proof, strlen(proof), digest);
    base64(digest, proof);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", proof);
    kind[fd] = SUBSCRIBER;
    place[fd] = count;
    subscribers[count++] = fd;
    if (!put(fd, (unsigned char *)answer, (size_t)size)) drop(fd);
}

static void heard(int fd) {
    unsigned char data[1024];
    ssize_t got = read(fd, data, sizeof data);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) drop(fd);
    else if (got >= 6 && data[0] == 0x89 && !put(fd, (unsigned char[]){0x8A, 0}, 2)) drop(fd);
}

static int listening(int port, unsigned char what, int queue) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
        perror("floor");
        exit(1);
    }
    kind[fd] = what;
    epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: floor PORT PUBLISH_PORT\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    int queue = epoll_create1(0), yes = 1;
    struct epoll_event events[256];
    listening(atoi(argv[1]), LISTENER, queue);
    listening(atoi(argv[2]), PUBLISH_LISTENER, queue);
    for (;;) {
        int ready = epoll_wait(queue, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (kind[fd] == PUBLISHER) published(fd);
            else if (kind[fd] == NEW) upgraded(fd);
            else if (kind[fd] == SUBSCRIBER) heard(fd);
            else if (kind[fd] != NOBODY) {
                int new = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
                struct epoll_event event = {.events = EPOLLIN, .data.fd = new};
                if (new < 0) continue;
                if (new >= MOST) { close(new); continue; }
                setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                kind[new] = kind[fd] == LISTENER ? NEW : PUBLISHER;
                epoll_ctl(queue, EPOLL_CTL_ADD, new, &event);
            }
        }
    }
}
