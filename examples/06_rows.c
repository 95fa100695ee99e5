/* 06: look rows of a table up, as an embedding does, without the table in memory.  06_rows MODEL TENSOR ROW... */
#include <cubby/cubby.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS_MAX = 64 };

int main(int argc, char **argv) {
  cubby *rt = NULL;
  cubby_tier host = 0;
  cubby_bank table = 0;
  cubby_bank_desc about = {.struct_size = sizeof about};
  uint64_t rows[ROWS_MAX];
  const uint32_t count = argc < 4 ? 0 : argc - 3 < ROWS_MAX ? (uint32_t)argc - 3 : ROWS_MAX;
  for (uint32_t i = 0; i < count; ++i) rows[i] = strtoull(argv[i + 3], NULL, 10);
  const cubby_tier_desc tier = {.struct_size = sizeof tier, .backend = "host", .name = "host:0", .budget_bytes = 16u << 20};
  cubby_adopt_desc as_table = {.struct_size = sizeof as_table, .kind = CUBBY_BANK_ROWS, .tensors = count ? argv[2] : NULL};
  cubby_status s = count ? cubby_open(NULL, &rt) : CUBBY_ERR_INVALID;
  if (s == CUBBY_OK) s = cubby_tier_add(rt, &tier, &host);
  if (s == CUBBY_OK) s = cubby_bank_adopt(rt, argv[1], &as_table, &table);
  if (s == CUBBY_OK) s = cubby_bank_info(rt, table, &about);
  unsigned char *bytes = s == CUBBY_OK ? malloc((size_t)count * about.table_row_bytes) : NULL;
  if (bytes != NULL) {
    const cubby_span into = {.offset_bytes = (uintptr_t)bytes, .bytes = (uint64_t)count * about.table_row_bytes};
    s = cubby_gather(rt, table, rows, count, &into, NULL, NULL); /* no ticket, no queue: it waits */
  }
  for (uint32_t i = 0; s == CUBBY_OK && bytes != NULL && i < count; ++i) {
    printf("row %llu begins with byte %u\n", (unsigned long long)rows[i], bytes[(size_t)i * about.table_row_bytes]);
  }
  if (s != CUBBY_OK) fprintf(stderr, "06_rows MODEL TENSOR ROW...: %s\n", cubby_status_name(s)); /* cubby_explain() has a sentence */
  cubby_close(rt);
  free(bytes);
  return s == CUBBY_OK && bytes != NULL ? 0 : 1;
}
