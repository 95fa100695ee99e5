/* 01: hold two experts of a model file in memory and look at their bytes.  01_pin MODEL */
#include <cubby/cubby.h>
#include <stdio.h>

int main(int argc, char **argv) {
  cubby *rt = NULL;
  cubby_tier host = 0;
  cubby_bank experts = 0;
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  const cubby_tier_desc tier = {.struct_size = sizeof tier, .backend = "host", .name = "host:0", .budget_bytes = 64u << 20};
  cubby_bank_desc info = {.struct_size = sizeof info};
  int ok = argc == 2 && cubby_open(NULL, &rt) == CUBBY_OK && cubby_tier_add(rt, &tier, &host) == CUBBY_OK &&
           cubby_bank_adopt(rt, argv[1], NULL, &experts) == CUBBY_OK && cubby_bank_info(rt, experts, &info) == CUBBY_OK;
  const cubby_item items[] = {{.id = CUBBY_ID(experts, 0)}, {.id = CUBBY_ID(experts, 1)}};
  const void *parts[2 * CUBBY_PARTS_MAX];
  cubby_status status = ok ? cubby_pin(rt, items, 2, host, NULL, &pins, parts, &ticket) : CUBBY_ERR_INVALID;
  if (status == CUBBY_PENDING) status = cubby_wait(rt, ticket, -1);
  char why[512] = "";
  if (status == CUBBY_OK) printf("%u x %u experts; the first byte of expert 1 is %u\n", info.rows, info.columns,
                                 ((const unsigned char *)parts[info.part_count])[0]);
  else if (cubby_explain(NULL, why, sizeof why) == CUBBY_OK) fprintf(stderr, "01_pin MODEL: %s\n", why);
  if (status == CUBBY_OK) cubby_unpin(rt, pins, 0, 0, NULL);
  cubby_close(rt);
  return status == CUBBY_OK ? 0 : 1;
}
