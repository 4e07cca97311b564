// The only process of a Linux guest in QEMU. It changes the guest's page table all the time, by
// pages that come, go and are protected, and checks that every page it keeps holds what it wrote.
// Twice a second it prints how far it is. First it prints what the guest knows of some addresses:
//   text START END          the kernel's text
//   page ADDRESS MEMORY     a page of its own, and where in the guest's memory it lies
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  KEPT_PAGES = 48,
  PASSING_PAGES = 24,
  SHOWN_PAGES = 16,
  STEPS_PER_ROUND = 64,
  REST_US = 30000,
  ROUNDS_PER_FORK = 16
};

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint8_t* map(size_t bytes) {
  uint8_t* memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    perror("mmap");
    _exit(1);
  }
  return memory;
}

static uint64_t first_word(size_t page) { return page * 0x9e3779b97f4a7c15u; }

/* Pages that live for a moment. Gives the number of wrong bytes. */
static unsigned long pass_through(size_t page_bytes) {
  const size_t bytes = PASSING_PAGES * page_bytes;
  uint8_t* memory = map(bytes);
  unsigned long wrong = 0;
  for (size_t at = 0; at < bytes; at += page_bytes) memory[at] = (uint8_t)(at / page_bytes + 1);
  mprotect(memory, bytes / 2, PROT_READ);
  for (size_t at = 0; at < bytes; at += page_bytes)
    wrong += memory[at] != (uint8_t)(at / page_bytes + 1);
  munmap(memory, bytes);
  return wrong;
}

/* Resizes the guest's table to each order that comes over the second console. Does not return. */
static void obey(void) {
  char line[16];
  FILE* orders = fopen("/dev/hvc1", "r");
  if (orders == NULL || mount("debug", "/debug", "debugfs", 0, NULL) != 0) {
    perror("worker: no orders");
    _exit(1);
  }
  while (fgets(line, sizeof line, orders) != NULL) {
    const int file = open("/debug/powerpc/hpt_order", O_WRONLY);
    const int done = file >= 0 && write(file, line, strlen(line)) >= 0;
    printf("worker: resizing to order %.*s: %s\n", (int)strcspn(line, "\n"), line,
           done ? "done" : strerror(errno));
    fflush(stdout);
    close(file);
  }
  _exit(0);
}

/* Prints where the kernel's text begins and ends. */
static void show_text(void) {
  FILE* symbols = fopen("/proc/kallsyms", "r");
  if (symbols == NULL) return;
  char line[256], name[128], kind;
  unsigned long address, start = 0, end = 0;
  while (fgets(line, sizeof line, symbols) != NULL) {
    if (sscanf(line, "%lx %c %127s", &address, &kind, name) != 3) continue;
    if (strcmp(name, "_stext") == 0) start = address;
    if (strcmp(name, "_etext") == 0) end = address;
  }
  fclose(symbols);
  printf("text %lx %lx\n", start, end);
}

/* Prints where pages lie that stay there: no child shares them, and nothing moves them. */
static uint8_t* show_pages(size_t page_bytes) {
  const size_t bytes = SHOWN_PAGES * page_bytes;
  uint8_t* shown = map(bytes);
  const int places = open("/proc/self/pagemap", O_RDONLY);
  if (places < 0 || madvise(shown, bytes, MADV_DONTFORK) != 0 || mlock(shown, bytes) != 0)
    return shown;
  for (uint8_t* page = shown; page < shown + bytes; page += page_bytes) {
    uint64_t place;
    *page = 1;
    const off_t at = (off_t)((uintptr_t)page / page_bytes * sizeof place);
    if (pread(places, &place, sizeof place, at) != sizeof place || place >> 63 == 0) continue;
    /* The upper bits are flags. */
    printf("page %lx %lx\n", (unsigned long)page, (place & ((1ul << 55) - 1)) * page_bytes);
  }
  close(places);
  return shown;
}

int main(void) {
  if (fork() == 0) obey();
  const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
  mount("proc", "/proc", "proc", 0, NULL);
  show_text();
  uint8_t* shown = show_pages(page_bytes);
  uint8_t* kept = map(KEPT_PAGES * page_bytes);
  static uint64_t changes[KEPT_PAGES];
  for (size_t page = 0; page < KEPT_PAGES; page++) {
    *(uint64_t*)(kept + page * page_bytes) = first_word(page);
  }
  unsigned long checks = 0, wrong = 0;
  double told = now();
  for (unsigned long round = 1;; round++) {
    for (int step = 0; step < STEPS_PER_ROUND; step++, checks++) {
      const size_t page = next_random() % KEPT_PAGES;
      uint64_t* word = (uint64_t*)(kept + page * page_bytes);
      wrong += *word != first_word(page) + changes[page];
      *word = first_word(page) + ++changes[page];
    }
    wrong += pass_through(page_bytes);
    for (size_t page = 0; page < SHOWN_PAGES; page++) shown[page * page_bytes]++;
    if (round % ROUNDS_PER_FORK == 0) {
      const pid_t child = fork();
      if (child == 0) _exit(0);
      waitpid(child, NULL, 0);
    }
    if (now() - told >= 0.5) {
      told = now();
      printf("worker: %lu checks, %lu wrong\n", checks, wrong);
      fflush(stdout);
    }
    // The host has one processor, and what reads the table there needs some of it.
    usleep(REST_US);
  }
}
