/* 03: two threads ask, a third takes completions, the frames are the caller's own memory, half of the
 * requests are cancelled, and the runtime is closed while others still ask.  03_threads MODEL
 *
 * What it checks: every accepted request completes exactly once, bytes that are said to be there are
 * those of the file, and close ends whatever is under way. */
#include <cubby/cubby.h>
#include <pthread.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { rounds = 400, set_size = 4, slot_count = 16 };

static cubby *rt;
static cubby_cq *queue;
static cubby_tier near_tier;
static cubby_bank experts;
static cubby_bank_desc info = {.struct_size = sizeof info};
static _Atomic unsigned accepted, completed, twice, wrong, unexpected, computed, busy;
static _Atomic unsigned char seen[2 * rounds];
static atomic_int asking = 2;

/* The test's model fills expert (row, column) with the byte row * columns + column + 1. */
static void check(const cubby_item *items, const void *const *parts, const int8_t *states) {
  for (uint32_t i = 0; i < set_size; ++i) {
    if (states[i] != CUBBY_OK) continue;
    const unsigned number = (unsigned)(items[i].id & 0xFFFFFFFFFFFFu);
    const unsigned char want = (unsigned char)(number + 1);
    for (uint32_t part = 0; part < info.part_count; ++part) {
      const unsigned char *bytes = parts[i * info.part_count + part];
      const uint64_t size = info.part_bytes[(number / info.columns) * info.part_count + part];
      if (bytes[0] != want || bytes[size - 1] != want) atomic_fetch_add(&wrong, 1);
    }
    atomic_fetch_add(&computed, 1);
  }
}

static void *ask(void *which) {
  const unsigned thread = (unsigned)(uintptr_t)which;
  unsigned random = thread + 1;
  for (unsigned round = 0; round < rounds; ++round) {
    cubby_item items[set_size];
    memset(items, 0, sizeof items);
    for (uint32_t i = 0; i < set_size; ++i) {
      random = random * 1664525u + 1013904223u;
      items[i].id = CUBBY_ID(experts, (random >> 8) % (info.rows * info.columns));
    }
    const void *parts[set_size * CUBBY_PARTS_MAX];
    int8_t states[set_size] = {0};
    const cubby_how how = {.struct_size = sizeof how, .user = thread * rounds + round, .cq = queue,
                           .item_status = states};
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status status = cubby_pin(rt, items, set_size, near_tier, &how, &pins, parts, &ticket);
    if (status == CUBBY_PENDING) {
      atomic_fetch_add(&accepted, 1);
      if (round % 2 != 0) cubby_cancel(rt, ticket);
      status = cubby_wait(rt, ticket, -1);
      if (status == CUBBY_ERR_STALE) status = CUBBY_ERR_CANCELED; /* over, and taken by the other thread */
      for (uint32_t i = 0; i < set_size && status == CUBBY_ERR_CANCELED; ++i) {
        if (states[i] == CUBBY_PENDING) states[i] = CUBBY_ERR_CANCELED;
      }
    }
    if (status == CUBBY_OK) {
      check(items, parts, states);
      if (cubby_unpin(rt, pins, 0, 0, NULL) != CUBBY_OK) atomic_fetch_add(&unexpected, 1);
    } else if (status == CUBBY_PARTIAL) {
      check(items, parts, states);
      cubby_unpin(rt, pins, 0, 0, NULL);
    } else if (status == CUBBY_ERR_BUSY) {
      atomic_fetch_add(&busy, 1);
    } else if (status == CUBBY_ERR_CANCELED) {
      cubby_unpin(rt, pins, 0, 0, NULL); /* STALE when nothing is held */
    } else {
      char why[512] = "";
      cubby_explain(NULL, why, sizeof why);
      fprintf(stderr, "03_threads: %s: %s\n", cubby_status_name(status), why);
      atomic_fetch_add(&unexpected, 1);
    }
  }
  atomic_fetch_sub(&asking, 1);
  return NULL;
}

static unsigned take(void) {
  cubby_done done[16];
  const uint32_t count = cubby_cq_take(queue, done, 16);
  for (uint32_t i = 0; i < count; ++i) {
    if (done[i].user >= 2 * rounds || atomic_exchange(&seen[done[i].user], 1) != 0) {
      atomic_fetch_add(&twice, 1);
    }
  }
  atomic_fetch_add(&completed, count);
  return count;
}

static void *collect(void *unused) {
  (void)unused;
  while (atomic_load(&asking) != 0) {
    struct pollfd fd = {.fd = cubby_cq_fd(queue), .events = POLLIN};
    poll(&fd, 1, 20);
    take();
  }
  return NULL;
}

static int prepare(const char *model, void *memory, uint64_t bytes) {
  const cubby_region_desc lent = {.struct_size = sizeof lent, .kind = CUBBY_MEMORY_HOST, .fd = -1, .base = memory,
                                  .bytes = bytes};
  cubby_region region = 0;
  if (cubby_open(NULL, &rt) != CUBBY_OK || cubby_region_add(rt, &lent, &region) != CUBBY_OK) return 0;
  const cubby_tier_desc tier = {.struct_size = sizeof tier, .backend = "host", .name = "device:0", .budget_bytes = bytes,
                                .memory = &region, .memory_count = 1};
  return cubby_tier_add(rt, &tier, &near_tier) == CUBBY_OK &&
         cubby_bank_adopt(rt, model, NULL, &experts) == CUBBY_OK &&
         cubby_bank_info(rt, experts, &info) == CUBBY_OK && cubby_cq_add(rt, 256, &queue) == CUBBY_OK;
}

/* Leaves requests in flight and closes over them. */
static int close_under_load(void) {
  for (uint32_t n = 0; n + 1 < info.rows * info.columns; n += 2) {
    cubby_item items[2];
    memset(items, 0, sizeof items);
    items[0].id = CUBBY_ID(experts, n);
    items[1].id = CUBBY_ID(experts, n + 1);
    const cubby_how how = {.struct_size = sizeof how, .io_class = CUBBY_FORECAST};
    cubby_prefetch(rt, items, 2, near_tier, &how, NULL);
  }
  return cubby_close(rt) == CUBBY_OK;
}

int main(int argc, char **argv) {
  const uint64_t bytes = (uint64_t)slot_count * (256u << 10);
  void *memory = aligned_alloc(4096, bytes);
  if (argc != 2 || memory == NULL || !prepare(argv[1], memory, bytes)) {
    char why[512] = "";
    cubby_explain(NULL, why, sizeof why);
    fprintf(stderr, "03_threads MODEL: %s\n", why);
    return 2;
  }
  pthread_t threads[3];
  pthread_create(&threads[0], NULL, ask, (void *)0);
  pthread_create(&threads[1], NULL, ask, (void *)1);
  pthread_create(&threads[2], NULL, collect, NULL);
  for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
  cubby_drain(rt, -1);
  while (take() != 0) {
  }
  const int closed = close_under_load();
  free(memory);
  const int good = accepted > 0 && computed > 0 && accepted == completed && twice == 0 && wrong == 0 && unexpected == 0 &&
                   closed;
  printf("%u accepted, %u completed, %u twice, %u lockers computed on, %u wrong, %u busy: %s\n", accepted, completed,
         twice, computed, wrong, busy, good ? "good" : "BAD");
  return good ? 0 : 1;
}
