/* 01: hold two experts of a model file in memory and look at their bytes.  01_pin MODEL */
#include <cubby/cubby.h>
#include <stdio.h>

int main(int argc, char **argv) {
  cubby *rt = NULL;
  cubby_tier host = 0;
  cubby_bank experts = 0;
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  const void *parts[2 * CUBBY_PARTS_MAX]; /* gate, up and down of the one, then of the other */
  const cubby_tier_desc tier = {.struct_size = sizeof tier, .backend = "host", .name = "host:0", .budget_bytes = 64u << 20};
  cubby_status s = argc == 2 ? cubby_open(NULL, &rt) : CUBBY_ERR_INVALID;
  if (s == CUBBY_OK) s = cubby_tier_add(rt, &tier, &host);
  if (s == CUBBY_OK) s = cubby_bank_adopt(rt, argv[1], NULL, &experts);
  const cubby_item items[] = {{.id = CUBBY_ID(experts, 0)}, {.id = CUBBY_ID(experts, 1)}};
  if (s == CUBBY_OK) s = cubby_pin(rt, items, 2, host, NULL, &pins, parts, &ticket);
  if (s == CUBBY_PENDING) s = cubby_wait(rt, ticket, -1);
  if (s == CUBBY_OK) printf("the first byte of expert 0 is %u\n", *(const unsigned char *)parts[0]);
  else fprintf(stderr, "01_pin MODEL: %s\n", cubby_status_name(s)); /* cubby_explain() has a sentence */
  if (s == CUBBY_OK) cubby_unpin(rt, pins, 0, 0, NULL);
  cubby_close(rt);
  return s == CUBBY_OK ? 0 : 1;
}
