/* Reads every expert of a model and says by which path its file was read:  file_path MODEL */
#include <cubby/cubby.h>
#include <stdio.h>

int main(int argc, char **argv) {
  cubby *rt = NULL;
  cubby_tier host = 0;
  cubby_bank experts = 0;
  const cubby_tier_desc tier = {.struct_size = sizeof tier, .backend = "host", .name = "host:0", .budget_bytes = 64u << 20};
  cubby_bank_desc info = {.struct_size = sizeof info};
  cubby_status status = argc == 2 ? cubby_open(NULL, &rt) : CUBBY_ERR_INVALID;
  if (status == CUBBY_OK) status = cubby_tier_add(rt, &tier, &host);
  if (status == CUBBY_OK) status = cubby_bank_adopt(rt, argv[1], NULL, &experts);
  if (status == CUBBY_OK) status = cubby_bank_info(rt, experts, &info);
  unsigned sum = 0;
  for (uint32_t i = 0; status == CUBBY_OK && i < info.rows * info.columns; ++i) {
    const cubby_item item = {.id = CUBBY_ID(experts, i)};
    const void *parts[CUBBY_PARTS_MAX];
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    status = cubby_pin(rt, &item, 1, host, NULL, &pins, parts, &ticket);
    if (status == CUBBY_PENDING) status = cubby_wait(rt, ticket, -1);
    if (status == CUBBY_OK) sum += *(const unsigned char *)parts[0];
    if (status == CUBBY_OK) cubby_unpin(rt, pins, 0, 0, NULL);
  }
  cubby_stats_block stats = {.struct_size = sizeof stats};
  cubby_tier_stats tiers[2] = {{.struct_size = sizeof tiers[0]}, {.struct_size = sizeof tiers[0]}};
  if (status == CUBBY_OK) status = cubby_stats(rt, &stats, tiers, 2);
  for (uint32_t i = 0; status == CUBBY_OK && i < stats.tier_count && i < 2; ++i) {
    cubby_tier_info path = {.struct_size = sizeof path};
    status = cubby_tier_describe(rt, tiers[i].tier, &path);
    if (status == CUBBY_OK && tiers[i].budget_bytes == 0) printf("sum %u, by %s: %s (%s)\n", sum, path.backend, path.io, path.why);
  }
  cubby_log_line line;
  while (rt != NULL && cubby_log_take(rt, &line, 1) == 1) printf("log: %s\n", line.text);
  char why[512] = "";
  if (status != CUBBY_OK && cubby_explain(NULL, why, sizeof why) == CUBBY_OK) fprintf(stderr, "file_path: %s\n", why);
  cubby_close(rt);
  return status == CUBBY_OK ? 0 : 1;
}
