/*
 * talk.c -- progress and numbers for people.
 *
 * The passes know nothing of terminals, so progress is a timer: while a stage lasts, a signal once a second
 * rewrites one line of standard error. The handler only calls write.
 */
#include "cli/program.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
  char text[120];
  size_t length;
  double start;
  bool verbose, ticking, has_timer;
  timer_t timer;
  volatile sig_atomic_t shown;
} stage;

double seconds_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

bool can_paint(FILE *stream) {
  const char *refused = getenv("NO_COLOR");
  return !(refused && *refused) && isatty(fileno(stream));
}

static void tick(int signal) {
  (void)signal;
  stage.shown++;
  ssize_t written =
      write(STDERR_FILENO, stage.shown == 1 ? stage.text : ".", stage.shown == 1 ? stage.length : 1);
  (void)written;
}

/* A timer of its own: SIGALRM is the time limit of `tenon check`. */
static void set_timer(time_t seconds) {
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  if (!stage.has_timer && timer_create(CLOCK_MONOTONIC, &event, &stage.timer)) return;
  stage.has_timer = true;
  struct itimerspec times = {.it_interval.tv_sec = seconds, .it_value.tv_sec = seconds};
  timer_settime(stage.timer, 0, &times, NULL);
}

void progress_begin(const Arguments *arguments, const char *what, const char *of) {
  snprintf(stage.text, sizeof stage.text, "%s %s ", what, of);
  stage.length = strlen(stage.text);
  stage.start = seconds_now();
  stage.shown = 0;
  stage.verbose = option_flag(arguments, "verbose");
  stage.ticking = isatty(STDERR_FILENO) && !option_flag(arguments, "quiet");
  if (!stage.ticking) return;
  sigaction(SIGUSR1, &(struct sigaction){.sa_handler = tick, .sa_flags = SA_RESTART}, NULL);
  set_timer(1);
}

void progress_end(void) {
  if (stage.ticking) set_timer(0);
  if (stage.shown) fprintf(stderr, "\r\033[K");
  if (stage.verbose) fprintf(stderr, "%s%.3f s\n", stage.text, seconds_now() - stage.start);
  stage.ticking = false;
}

/* The timer's dots follow behind. */
void progress_count(int done, int count) {
  enum { WIDTH = 30 };
  if (!stage.ticking || count <= 0) return;
  int filled = (int)((int64_t)WIDTH * done / count);
  stage.shown = 1;
  fprintf(stderr, "\r%s[%.*s%*s] %d/%d \033[K", stage.text, filled, "##############################",
          WIDTH - filled, "", done, count);
}

const char *bytes_text(int64_t bytes, char text[32]) {
  static const char *const units[] = {"KB", "MB", "GB", "TB"};
  if (bytes < 0) return "depends on the dims";
  double value = (double)bytes;
  int unit = -1;
  for (; value >= 10000 && unit < 3; unit++) value /= 1000;
  if (unit < 0)
    snprintf(text, 32, "%lld bytes", (long long)bytes);
  else
    snprintf(text, 32, value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return text;
}

const char *count_text(int64_t count, char text[32]) {
  char digits[24];
  int length = snprintf(digits, sizeof digits, "%lld", (long long)count), at = 0;
  for (int i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') text[at++] = ',';
    text[at++] = digits[i];
  }
  text[at] = '\0';
  return text;
}
