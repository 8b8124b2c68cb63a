/* HTTP/1.1 load over kept-alive connections, closed loop, one thread, little CPU. Prints JSON.
 * Refuses responses without Content-Length. A connection that the server closes is opened again and
 * its request counted as lost.
 *
 *   loadgen -t unix:PATH|tcp:ADDRESS:PORT|tls:ADDRESS:PORT -r REQUESTS [-c CONNECTIONS]
 *           [-d SECONDS] [-w WARM-UP SECONDS] [-C CERTIFICATE -K KEY -A AUTHORITY]
 *
 * REQUESTS holds complete requests, taken in turn: "LENGTH OFFSET\n" and LENGTH bytes each; OFFSET
 * is where 16 characters are replaced by a number that no other request had before, or -1. */
#define _GNU_SOURCE
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 4096, HEAD = 16384, CHUNK = 262144, EVENTS = 256, MARK = 16 };

struct request {
  char *bytes;
  long length, mark;
};

struct connection {
  int socket;
  void *tls;
  double sent;
  char head[HEAD + 1];
  long have, want; /* bytes of the response read; its full length, 0 while unknown */
  int status;
};

static union {
  struct sockaddr any;
  struct sockaddr_in tcp;
  struct sockaddr_un local;
} address;
static socklen_t address_length;
static struct request *requests;
static long request_count, taken, first_number; /* the time: later runs never repeat a number */
static struct connection connections[MAX_CONNECTIONS];
static int poller;
static double *latencies;
static long samples, capacity, lost, received;
static long statuses[1000];
static int shown, encrypted;

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "loadgen: %s: %s\n", what, detail);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static long nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void *grown(void *memory, long count, size_t size) {
  void *larger = realloc(memory, (size_t)count * size);
  if (!larger) fail("memory", strerror(errno));
  return larger;
}

static void read_requests(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) fail(path, strerror(errno));
  struct request request;
  while (fscanf(file, "%ld %ld", &request.length, &request.mark) == 2 && fgetc(file) == '\n') {
    request.bytes = grown(NULL, request.length, 1);
    if (fread(request.bytes, 1, (size_t)request.length, file) != (size_t)request.length ||
        request.mark + MARK > request.length)
      fail(path, "is cut short");
    requests = grown(requests, request_count + 1, sizeof *requests);
    requests[request_count++] = request;
  }
  if (!feof(file) || !request_count) fail(path, "is not a file of requests");
  fclose(file);
}

static void parse_target(char *target) {
  if (!strncmp(target, "unix:", 5)) {
    address.local.sun_family = AF_UNIX;
    if (strlen(target + 5) >= sizeof address.local.sun_path) fail(target, "path too long");
    strcpy(address.local.sun_path, target + 5);
    address_length = sizeof address.local;
    return;
  }
  char *port = strrchr(target, ':');
  if ((strncmp(target, "tcp:", 4) && strncmp(target, "tls:", 4)) || port <= target + 4) fail("bad target", target);
  *port++ = 0;
  encrypted = target[1] == 'l';
  address.tcp.sin_family = AF_INET;
  address.tcp.sin_port = htons((uint16_t)atoi(port));
  if (!inet_aton(target + 4, &address.tcp.sin_addr)) fail("not an IPv4 address", target + 4);
  address_length = sizeof address.tcp;
}

static void wait_for(const struct connection *c, short events) {
  struct pollfd wanted = {c->socket, events, 0};
  poll(&wanted, 1, 1000);
}

/* Bytes moved; 0: nothing now; -1: the connection is gone. */
static long outcome(const struct connection *c, long moved) {
  if (moved > 0) return moved;
  if (!c->tls) return moved < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
  int error = tls.error(c->tls, (int)moved);
  return error == WANT_READ || error == WANT_WRITE ? 0 : -1;
}

static long receive(struct connection *c, char *buffer) {
  return outcome(c, c->tls ? tls.read(c->tls, buffer, CHUNK) : read(c->socket, buffer, CHUNK));
}

static void number(char *field) {
  char text[MARK + 1];
  snprintf(text, sizeof text, "%016lx", (unsigned long)(first_number + taken));
  memcpy(field, text, MARK);
}

static void send_next(struct connection *c) {
  struct request *request = &requests[taken++ % request_count];
  if (request->mark >= 0) number(request->bytes + request->mark);
  c->have = c->want = 0;
  c->sent = now();
  for (long done = 0; done < request->length;) {
    const char *from = request->bytes + done;
    size_t left = (size_t)(request->length - done);
    long moved = outcome(c, c->tls ? tls.write(c->tls, from, (int)left) : write(c->socket, from, left));
    if (moved < 0) return; /* the reader sees the closed connection */
    if (!moved) wait_for(c, POLLOUT);
    done += moved;
  }
}

static void shake_hands(struct connection *c) {
  c->tls = tls.new(tls_context);
  tls.set_fd(c->tls, c->socket);
  if (tls.connect(c->tls) != 1) fail("TLS", "the server refused the handshake");
}

static void connect_one(struct connection *c) {
  int on = 1;
  c->socket = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->socket < 0 || connect(c->socket, &address.any, address_length)) fail("connect", strerror(errno));
  if (address.any.sa_family == AF_INET) setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (tls_context) shake_hands(c);
  fcntl(c->socket, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {EPOLLIN, {.ptr = c}};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, c->socket, &event)) fail("epoll", strerror(errno));
  send_next(c);
}

static void reconnect(struct connection *c) {
  lost++;
  if (c->tls) tls.free(c->tls);
  c->tls = NULL;
  close(c->socket);
  connect_one(c);
}

static void parse_head(struct connection *c) {
  c->head[c->have < HEAD ? c->have : HEAD] = 0;
  char *end = strstr(c->head, "\r\n\r\n");
  if (!end) {
    if (c->have >= HEAD) fail("response", "its head is too long");
    return;
  }
  char *length = strcasestr(c->head, "\r\ncontent-length:");
  c->status = atoi(c->head + 9);
  if (c->status < 100 || c->status > 599) fail("not HTTP", c->head);
  if (c->status != 204 && (!length || length > end)) fail("no Content-Length", c->head);
  c->want = end + 4 - c->head + (c->status == 204 ? 0 : atol(length + 17));
}

static void finish(struct connection *c) {
  if (samples == capacity) latencies = grown(latencies, capacity = capacity * 2 + 65536, sizeof *latencies);
  latencies[samples++] = now() - c->sent;
  statuses[c->status]++;
  received += c->have;
  if ((c->status < 200 || c->status > 299) && !shown++) fprintf(stderr, "loadgen: answered %s\n", c->head);
  send_next(c);
}

static void take(struct connection *c, const char *bytes, long count) {
  long room = HEAD - c->have;
  if (room > 0) memcpy(c->head + c->have, bytes, (size_t)(count < room ? count : room));
  c->have += count;
  if (!c->want) parse_head(c);
  if (c->want && c->have > c->want) fail("response", "longer than its Content-Length");
  if (c->want && c->have == c->want) finish(c);
}

static void serve(struct connection *c) {
  static char buffer[CHUNK];
  long count;
  do {
    count = receive(c, buffer);
    if (count < 0) reconnect(c);
    if (count > 0) take(c, buffer, count);
  } while (count > 0 && c->tls); /* TLS may hold decrypted bytes that epoll does not see */
}

static void run_for(double seconds) {
  struct epoll_event events[EVENTS];
  for (double end = now() + seconds; now() < end;) {
    int ready = epoll_wait(poller, events, EVENTS, 50);
    for (int i = 0; i < ready; i++) serve(events[i].data.ptr);
  }
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double percentile(double share) {
  return samples ? latencies[(long)((double)(samples - 1) * share)] * 1e3 : 0;
}

static double cpu(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void report(double seconds, double busy) {
  qsort(latencies, (size_t)samples, sizeof *latencies, by_size);
  printf("{\"requests\": %ld, \"seconds\": %.3f, \"per_second\": %.1f, ", samples, seconds,
         (double)samples / seconds);
  printf("\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, ", percentile(.5),
         percentile(.9), percentile(.99), percentile(1));
  printf("\"bytes\": %ld, \"lost\": %ld, \"client_cpu\": %.3f, \"status\": {", received, lost, busy / seconds);
  const char *comma = "";
  for (int i = 100; i < 600; i++)
    if (statuses[i]) printf("%s\"%d\": %ld", comma, i, statuses[i]), comma = ", ";
  printf("}}\n");
}

static void start_measuring(void) {
  samples = lost = received = 0;
  memset(statuses, 0, sizeof statuses);
}

int main(int count, char **words) {
  int option, wanted = 1;
  double seconds = 5, warm_up = 0.5;
  const char *certificate = NULL, *key = NULL, *authority = NULL;
  while ((option = getopt(count, words, "t:r:c:d:w:C:K:A:")) != -1) {
    if (option == 't') parse_target(optarg);
    else if (option == 'r') read_requests(optarg);
    else if (option == 'c') wanted = atoi(optarg);
    else if (option == 'd') seconds = atof(optarg);
    else if (option == 'w') warm_up = atof(optarg);
    else if (option == 'C') certificate = optarg;
    else if (option == 'K') key = optarg;
    else if (option == 'A') authority = optarg;
    else return 64;
  }
  if (!address_length || !requests || wanted < 1 || wanted > MAX_CONNECTIONS) fail("usage", "-t, -r, -c");
  signal(SIGPIPE, SIG_IGN);
  if (encrypted && (!certificate || !key || !authority)) fail("usage", "TLS needs -C, -K and -A");
  if (encrypted) tls_open(certificate, key, authority);
  first_number = nanoseconds();
  poller = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < wanted; i++) connect_one(&connections[i]);
  run_for(warm_up);
  start_measuring();
  double began = now(), used = cpu();
  run_for(seconds);
  report(now() - began, cpu() - used);
  return 0;
}
