/* Reads experts of a model through a backend from a library:  use_backend LIB.so NAME MODEL */
#include <cubby/cubby.h>
#include <stdio.h>

static cubby_status read_all(cubby *rt, cubby_bank experts, cubby_tier host, const cubby_bank_desc *info) {
  const void *parts[CUBBY_PARTS_MAX];
  unsigned sum = 0;
  const uint32_t count = info->rows * info->columns;
  for (uint32_t i = 0; i < count; ++i) {
    const cubby_item item = {.id = CUBBY_ID(experts, i)};
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status status = cubby_pin(rt, &item, 1, host, NULL, &pins, parts, &ticket);
    if (status == CUBBY_PENDING) status = cubby_wait(rt, ticket, -1);
    if (status != CUBBY_OK) return status;
    sum += *(const unsigned char *)parts[0];
    cubby_unpin(rt, pins, 0, 0, NULL);
  }
  printf("%u experts, their first bytes add up to %u\n", count, sum);
  return CUBBY_OK;
}

int main(int argc, char **argv) {
  cubby *rt = NULL;
  cubby_tier files = 0, host = 0;
  cubby_bank experts = 0;
  cubby_tier_info path = {.struct_size = sizeof path};
  char why[512] = "";
  if (argc != 4) return fprintf(stderr, "use_backend LIB.so NAME MODEL\n"), 2;
  const cubby_tier_desc file_tier = {.struct_size = sizeof file_tier, .backend = argv[2], .name = "file:0", .rank = 1};
  const cubby_tier_desc host_tier = {.struct_size = sizeof host_tier, .backend = "host", .name = "host:0", .budget_bytes = 64u << 20};
  cubby_bank_desc info = {.struct_size = sizeof info};
  cubby_status status = cubby_open(NULL, &rt);
  if (status == CUBBY_OK) status = cubby_backend_load(rt, argv[1]);
  if (status == CUBBY_OK) status = cubby_tier_add(rt, &file_tier, &files);
  if (status == CUBBY_OK) status = cubby_tier_add(rt, &host_tier, &host);
  if (status == CUBBY_OK) status = cubby_bank_adopt(rt, argv[3], NULL, &experts);
  if (status == CUBBY_OK) status = cubby_bank_info(rt, experts, &info);
  if (status == CUBBY_OK) status = read_all(rt, experts, host, &info);
  if (status == CUBBY_OK) status = cubby_tier_describe(rt, files, &path);
  if (status == CUBBY_OK) printf("%s by %s (%s)\n", path.name, path.backend, path.io);
  if (status != CUBBY_OK) cubby_explain(NULL, why, sizeof why), fprintf(stderr, "use_backend: %s\n", why);
  cubby_close(rt);
  return status == CUBBY_OK ? 0 : 1;
}
