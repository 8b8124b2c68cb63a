/* A PKCS#11 module for tests: it forwards every function to the real module and, where the plan
 * says so, answers a code, hangs, kills its process or signals another one. Refuses a plan that it
 * cannot read by aborting: a fault that silently does not happen would make a test pass.
 *
 * Environment: FAULTHSM_REAL  path of the real module
 *              FAULTHSM_PLAN  path of the plan; read again when it changes (counters start anew)
 *              FAULTHSM_LOG   optional; one line "pid function outcome" for each call
 *
 * A plan has one fault a line, the first that applies wins:
 *   FUNCTION|* SKIP COUNT before|after ACTION NUMBER PATH|- TICKET|- SINCE|-
 *   return NUMBER      answer with this code (before: the real module is not asked)
 *   hang NUMBER        sleep this many milliseconds, 0 for ever
 *   signal NUMBER PATH send this signal to the process whose id PATH holds; "-": to itself
 *   place 0 PATH       rename PATH.later to PATH, which starts what waits for that file
 * SKIP calls pass first, then COUNT calls (-1: all) are hit; both count in this process alone.
 * A ticket is a file: the fault happens only in the process that manages to remove it, so once.
 * SINCE is a function: calls count from its first call on.
 *
 * wrappers.inc is generated from the PKCS#11 header at build time (generate.py). */
#define _GNU_SOURCE
#define CRYPTOKI_GNU 1
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FAULTS = 64, MAX_LINE = 1024 };
enum moment { BEFORE, AFTER };

struct fault {
  char function[48];
  long skip, count;
  enum moment moment;
  char action[16];
  unsigned long number;
  char path[400];
  char ticket[400];
  char since[48];
};

static struct ck_function_list *real;
static struct ck_function_list shim;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fault plan[MAX_FAULTS];
static int planned;
static struct stat plan_seen;

static void broken(const char *what, const char *detail) {
  fprintf(stderr, "faulthsm: %s: %s\n", what, detail);
  abort();
}

static const char *environment(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

static void parse(const char *line, struct fault *fault) {
  char moment[8];
  int fields = sscanf(line, "%47s %ld %ld %7s %15s %lu %399s %399s %47s", fault->function,
                      &fault->skip, &fault->count, moment, fault->action, &fault->number,
                      fault->path, fault->ticket, fault->since);
  if (fields != 9 || (strcmp(moment, "before") && strcmp(moment, "after"))) broken("bad line", line);
  if (strcmp(fault->action, "return") && strcmp(fault->action, "hang") &&
      strcmp(fault->action, "signal") && strcmp(fault->action, "place"))
    broken("unknown action", line);
  fault->moment = strcmp(moment, "after") ? BEFORE : AFTER;
}

static int unchanged(const struct stat *now) {
  return now->st_ino == plan_seen.st_ino && now->st_size == plan_seen.st_size &&
         now->st_mtim.tv_sec == plan_seen.st_mtim.tv_sec &&
         now->st_mtim.tv_nsec == plan_seen.st_mtim.tv_nsec;
}

static void load_plan(void) {
  const char *path = environment("FAULTHSM_PLAN");
  struct stat now;
  if (!path || stat(path, &now)) {
    planned = 0;
    memset(&plan_seen, 0, sizeof plan_seen);
    return;
  }
  if (unchanged(&now)) return;
  FILE *file = fopen(path, "re");
  if (!file) broken("cannot open plan", path);
  char line[MAX_LINE];
  for (planned = 0; fgets(line, sizeof line, file); planned++) {
    if (planned == MAX_FAULTS) broken("too many faults", path);
    parse(line, &plan[planned]);
  }
  fclose(file);
  plan_seen = now;
}

static int applies(struct fault *fault, const char *function) {
  if (strcmp(fault->since, "-")) return 0;
  if (strcmp(fault->function, "*") && strcmp(fault->function, function)) return 0;
  if (fault->skip > 0) return fault->skip--, 0;
  if (fault->count == 0) return 0;
  if (strcmp(fault->ticket, "-") && unlink(fault->ticket)) return 0;
  if (fault->count > 0) fault->count--;
  return 1;
}

static void note(const char *function, const char *outcome) {
  const char *path = environment("FAULTHSM_LOG");
  if (!path) return;
  char line[128];
  int length = snprintf(line, sizeof line, "%d %s %s\n", getpid(), function, outcome);
  int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || write(file, line, (size_t)length) != length) broken("cannot write log", path);
  close(file);
}

/* The fault that hits this call, copied so that the lock is not held while it happens. */
static struct fault choose(const char *function) {
  struct fault chosen = {.action = "pass"};
  pthread_mutex_lock(&lock);
  load_plan();
  for (int i = 0; i < planned; i++)
    if (!strcmp(plan[i].since, function)) strcpy(plan[i].since, "-");
  for (int i = 0; i < planned; i++)
    if (applies(&plan[i], function)) {
      chosen = plan[i];
      break;
    }
  pthread_mutex_unlock(&lock);
  note(function, chosen.action);
  return chosen;
}

static void hang(unsigned long milliseconds) {
  if (!milliseconds)
    for (;;) pause();
  struct timespec left = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000L};
  while (nanosleep(&left, &left)) continue;
}

static void send_signal(const struct fault *fault) {
  int target = getpid();
  if (strcmp(fault->path, "-")) {
    FILE *file = fopen(fault->path, "re");
    if (!file || fscanf(file, "%d", &target) != 1 || target <= 1) broken("no pid in", fault->path);
    fclose(file);
  }
  if (kill(target, (int)fault->number)) broken("cannot signal", fault->path);
}

static void place(const char *path) {
  char later[sizeof plan->path + 8];
  snprintf(later, sizeof later, "%s.later", path);
  if (rename(later, path)) broken("cannot place", path);
}

/* Whether the call is answered with the fault's code instead of its own. */
static int strike(const struct fault *fault, enum moment moment) {
  if (fault->moment != moment) return 0;
  if (!strcmp(fault->action, "return")) return 1;
  if (!strcmp(fault->action, "hang")) hang(fault->number);
  if (!strcmp(fault->action, "signal")) send_signal(fault);
  if (!strcmp(fault->action, "place")) place(fault->path);
  return 0;
}

#define FORWARD(name, parameters, arguments)                      \
  static ck_rv_t shim_##name parameters {                         \
    struct fault fault = choose(#name);                           \
    if (strike(&fault, BEFORE)) return fault.number;              \
    ck_rv_t answer = real->name arguments;                        \
    return strike(&fault, AFTER) ? fault.number : answer;         \
  }
#define PATCH(name) shim.name = shim_##name;
#include "wrappers.inc"

static void open_real(void) {
  const char *path = environment("FAULTHSM_REAL");
  if (!path) broken("FAULTHSM_REAL", "is not set");
  void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!module) broken("cannot open module", dlerror());
  CK_C_GetFunctionList list = (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
  if (!list || list(&real) != CKR_OK) broken("no function list in", path);
  shim = *real;
  PATCH_ALL
  shim.C_GetFunctionList = C_GetFunctionList;
}

ck_rv_t C_GetFunctionList(struct ck_function_list **list) {
  pthread_mutex_lock(&lock);
  if (!real) open_real();
  pthread_mutex_unlock(&lock);
  *list = &shim;
  return CKR_OK;
}
