/* 04: keep KV blocks by key, in memory and on disk; end the runtime, open another, and find them again.
 * Usage: 04_kv_cache DIRECTORY   (the store is made there, of 64 MiB, and left there) */
#include <cubby/cubby.h>
#include <stdio.h>
#include <string.h>

enum { block_bytes = 256 * 1024, block_count = 3 };
static unsigned char block[block_bytes];
static const char *const names[block_count + 1] = {"The cat", "The cat sat", "The cat sat down", "The cat sat up"};
static cubby_key key(int i) { return (cubby_key){names[i], (uint32_t)strlen(names[i])}; }

/* A runtime with memory, a store on disk, and the keys of one model. */
static cubby_status open_cache(const char *directory, cubby **rt, cubby_space *space) {
  cubby_tier host = 0, disk = 0;
  cubby_bank blocks = 0;
  const cubby_tier_desc memory = {.struct_size = sizeof memory, .backend = "host", .name = "host:0", .budget_bytes = 16u << 20};
  const cubby_tier_desc store = {.struct_size = sizeof store, .backend = "file", .name = "nvme:0", .rank = 1,
                                 .budget_bytes = 64u << 20, .paths = &directory, .path_count = 1};
  const cubby_bank_desc bank = {
      .struct_size = sizeof bank, .kind = CUBBY_BANK_KV, .name = "kv", .rows = 1, .columns = 256, .locker_bytes = block_bytes};
  cubby_status s = cubby_open(NULL, rt);
  if (s == CUBBY_OK) s = cubby_tier_add(*rt, &memory, &host);
  if (s == CUBBY_OK) s = cubby_tier_add(*rt, &store, &disk);
  if (s == CUBBY_OK) s = cubby_bank_add(*rt, &bank, &blocks);
  /* What makes blocks interchangeable: nothing is ever found across spaces. */
  const cubby_space_desc of = {.struct_size = sizeof of, .bank = blocks, .fingerprint = "model, fp16", .fingerprint_bytes = 11};
  return s == CUBBY_OK ? cubby_space_add(*rt, &of, space) : s;
}

int main(int argc, char **argv) {
  cubby *rt = NULL;
  cubby_space space = 0;
  const char *const directory = argc > 1 ? argv[1] : ".";
  cubby_status s = open_cache(directory, &rt, &space);
  const cubby_how lasting = {.struct_size = sizeof lasting, .keep = CUBBY_KEEP_RESTART};
  for (int i = 0; i < block_count && s == CUBBY_OK; i++) {
    memset(block, 'a' + i, block_bytes);
    const cubby_span from = {.offset_bytes = (uint64_t)(uintptr_t)block, .bytes = block_bytes};
    const cubby_key parent = key(i == 0 ? 0 : i - 1);
    const cubby_item item = {.space = space, .key = key(i), .parent = i == 0 ? NULL : &parent, .spans = &from, .span_count = 1};
    s = cubby_put(rt, &item, 1, &lasting, NULL); /* without a ticket the call waits until the store has it */
  }
  cubby_close(rt);
  if (s == CUBBY_OK) s = open_cache(directory, &rt, &space); /* as another process would */
  const cubby_key asked[] = {key(0), key(1), key(3)};        /* another ending */
  uint32_t hits = 0;
  if (s == CUBBY_OK) s = cubby_match(rt, space, asked, 3, NULL, &hits, NULL);
  const cubby_span into = {.offset_bytes = (uint64_t)(uintptr_t)block, .bytes = block_bytes};
  const cubby_item last = {.space = space, .key = key(1), .spans = &into, .span_count = 1};
  if (s == CUBBY_OK) s = cubby_get(rt, &last, 1, NULL, NULL);
  if (s == CUBBY_OK) printf("%u of 3 blocks are there; the second begins with %c\n", hits, block[0]);
  else fprintf(stderr, "04_kv_cache: %s\n", cubby_status_name(s)); /* cubby_explain() has a sentence */
  if (rt != NULL) cubby_close(rt);
  return s == CUBBY_OK ? 0 : 1;
}
