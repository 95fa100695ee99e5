/* trace.h: recording what a runtime uses, and the format it is recorded in. C11 and C++20.
 *
 * A recording is opt-in, bounded and honest: memory for it is taken once, when it starts; what does not fit is dropped and counted;
 * what is read, written to a file one piece after the other, is a trace that `cubby replay` reads. docs/trace_format.md tells the
 * format byte by byte. Conventions are those of cubby.h.
 */
#ifndef CUBBY_TRACE_H
#define CUBBY_TRACE_H
#include <cubby/cubby.h>
#ifdef __cplusplus
extern "C" {
#endif

/** The first eight bytes of a trace. */
#define CUBBY_TRACE_MAGIC "CUBBYTRC"
/** Version of the format. */
#define CUBBY_TRACE_VERSION 1u

/** Sizes and limits of the format. */
enum {
  CUBBY_TRACE_HEAD_BYTES = 16,          /**< of the file's head, and of each block's                                           */
  CUBBY_TRACE_PAYLOAD_BYTES_MAX = 1 << 20, /**< of one block                                                                   */
  CUBBY_TRACE_SLOTS_MAX = 1024,         /**< sequences side by side                                                            */
  CUBBY_TRACE_LAYERS_MAX = 1024,        /**< of all grids together                                                             */
  CUBBY_TRACE_EXPERTS_MAX = 4096,       /**< of one layer                                                                      */
  CUBBY_TRACE_USED_MAX = 256            /**< experts of one visit                                                              */
};

/** Kinds of blocks. */
enum {
  CUBBY_TRACE_GRID = 1,     /**< layers that visits may name from here on                                                      */
  CUBBY_TRACE_VISITS = 2,   /**< experts that were used together                                                               */
  CUBBY_TRACE_REQUESTS = 3, /**< KV blocks that requests named                                                                 */
  CUBBY_TRACE_LOST = 4,     /**< how many records are missing here                                                             */
  CUBBY_TRACE_END = 5       /**< the trace was ended by who wrote it; nothing follows                                          */
};

/** How a recording is made. */
typedef struct cubby_trace_config {
  uint32_t struct_size;
  uint32_t reserved_;
  uint64_t ring_bytes; /**< memory for what has not been read yet, from 16 KiB to 1 GiB; 0 = 1 MiB                             */
} cubby_trace_config;

/** Where a recording stands. */
typedef struct cubby_trace_info {
  uint32_t struct_size;
  uint32_t running;       /**< 1 = visits are being recorded                                                                   */
  uint64_t ring_bytes;    /**< memory taken for it; 0 = nothing was ever started                                               */
  uint64_t waiting_bytes; /**< could be read now                                                                               */
  uint64_t visit_count;   /**< visits in what was read, and in what can be                                                     */
  uint64_t lost_count;    /**< visits that found no room, or that the format cannot hold; the trace tells them too             */
} cubby_trace_info;

/** Records visits from here on: by pins, and by cubby_visit with their slots. config: NULL = defaults. BUSY while a recording runs;
 * NO_MEMORY; a recording that was stopped is thrown away with what was not read of it. Does not block on I/O. */
cubby_status cubby_trace_start(cubby *rt, const cubby_trace_config *config);

/** Takes up to max_bytes of what was recorded; *got_bytes says how many, 0 = there is no more now. Pieces may end anywhere; written one
 * after the other they are a trace, complete once a call after cubby_trace_stop has given 0. Never blocks on I/O; one at a time.
 * INVALID when no recording was started. */
cubby_status cubby_trace_read(cubby *rt, void *to, uint64_t max_bytes, uint64_t *got_bytes);

/** Records no more. What is there can still be read; its memory goes with the next start or with the runtime. INVALID when none runs. */
cubby_status cubby_trace_stop(cubby *rt);

/** Fills *out. */
cubby_status cubby_trace_describe(cubby *rt, cubby_trace_info *out);

/** The check value of heads and blocks (CRC-32 of IEEE 802.3) of these bytes, or of these behind others: `before` is then the value of
 * those, else 0. */
uint32_t cubby_trace_check(uint32_t before, const void *bytes, uint64_t count);

#ifdef __cplusplus
}
#endif
#endif
