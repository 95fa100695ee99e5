/* policy.h: the interface between cubby and a placement policy. C11 and C++20.
 *
 * A policy decides which object leaves one tier when room is needed, and which is not worth admitting. The driver (the runtime,
 * the simulator, `cubby replay`) keeps the books: what is resident, what is pinned, what fits. The library's own policies use the
 * same interface, and the same policy serves simulator, replay and runtime.
 *
 * Conventions
 *   - Structs start with struct_size; fields are only ever appended; a field beyond struct_size counts as zero.
 *   - An object is a number below object_count. Experts: the bank's first_object + row * columns + column. KV: the driver numbers the
 *     keys it knows and keeps a number with its key after the block has left, so that a policy can remember what is gone; forget()
 *     says that a number now stands for something else.
 *   - A policy is pure: it does no I/O, reads no clock, starts no thread, and the same calls after the same create() give the same
 *     answers. It allocates in create() and grow() only.
 *   - One instance serves one tier and is driven by one thread at a time. Calls on different instances may overlap.
 *   - A tier that gives up what nearer ones take is described together with them, as one tier of their summed size: an object
 *     resident in one of them is resident. Victims that lie nearer are passed over like pinned ones.
 *   - Objects, arrays and structs handed in stand only during the call.
 *
 * The course of one visit (experts) or one touched block (KV):
 *   1. visit() or access() passes what is used, resident or not. Hits are what was resident before.
 *   2. A policy without admit(): for each object that is missing and finds no room begin_victims(), then next_victim() until one is
 *      not pinned. What is used in the visit is pinned until it ends.
 *      A policy with admit(): the missing are on probation until the visit ends. Then, one after the other and nothing pinned by
 *      it any more, each one that finds no room is compared with the first victim: admit() says whether it is worth more. If
 *      not, it is rejected. Where one victim does not make room enough, a further round names the next, and all are asked about
 *      before any of them leaves.
 *   3. removed() for each object evicted, inserted() for each one admitted.
 */
#ifndef CUBBY_POLICY_H
#define CUBBY_POLICY_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

/** Version of this header; a policy says which one it was compiled against. */
#define CUBBY_POLICY_ABI_VERSION 1u

/** An instance; the policy defines what it points to. */
typedef struct cubby_policy cubby_policy;

/** The number of an object, chosen by the driver. */
typedef uint32_t cubby_object;

/** No object. */
#define CUBBY_NO_OBJECT 0xFFFFFFFFu

/** Never, as a time of next use. */
#define CUBBY_NEVER_USED 0xFFFFFFFFFFFFFFFFu

/** What a policy needs and is meant for. */
enum {
  CUBBY_POLICY_EXPERTS = 1u << 0, /**< made for experts: it understands visit()                                              */
  CUBBY_POLICY_KV = 1u << 1,      /**< made for KV blocks: it understands access()                                           */
  CUBBY_POLICY_OFFLINE = 1u << 2, /**< needs next_use, which only a replay can give; never in a runtime                      */
  CUBBY_POLICY_HEAD_FIRST = 1u << 3 /**< takes a request's blocks from the first to the last; others from the last to the
                                         first, so that by recency alone the end of a prefix leaves before its beginning     */
};

/** What a bank holds. */
enum {
  CUBBY_POLICY_BANK_EXPERTS = 0, /**< a grid of layers × experts, used by visits                                             */
  CUBBY_POLICY_BANK_KV = 1,      /**< blocks that hang on one another: used by accesses where the driver can, else by visits     */
  CUBBY_POLICY_BANK_OTHER = 2    /**< anything else, used by visits, by accesses in a trace of blocks                         */
};

/** One bank whose lockers may live in the tier. */
typedef struct cubby_policy_bank {
  uint32_t struct_size;
  uint32_t kind;            /**< CUBBY_POLICY_BANK_*                                                                          */
  cubby_object first_object; /**< number of its locker 0                                                                      */
  uint32_t rows;            /**< layers; 1 where there is no grid                                                             */
  uint32_t columns;         /**< experts a layer                                                                              */
  uint32_t routed_count;    /**< experts a token uses in a layer; 0 = not known                                               */
  uint64_t object_bytes;    /**< size of a locker                                                                             */
  uint64_t refetch_ns;      /**< what bringing one back costs, as the channel delivers now; 0 = not known, all alike          */
} cubby_policy_bank;

/** How an instance is made. */
typedef struct cubby_policy_config {
  uint32_t struct_size;
  uint32_t abi_version;           /**< CUBBY_POLICY_ABI_VERSION of the driver                                                 */
  const cubby_policy_bank *banks; /**< [bank_count]                                                                           */
  uint32_t bank_count;            /**< banks known so far                                                                     */
  uint32_t object_count;          /**< objects are numbered below this                                                        */
  uint64_t budget_bytes;          /**< what the tier may hold                                                                 */
  uint32_t slot_count;            /**< sequences decoded side by side at most; 0 = 1                                          */
  uint32_t demotes;               /**< 1 = a victim is copied to a tier below, which takes the link's time: a newcomer should
                                       be worth clearly more than its victim; 0 = a victim is just dropped                   */
  uint64_t seed;                  /**< for randomised policies                                                                */
} cubby_policy_config;

/** What one sequence of the batch chose in the layer. */
typedef struct cubby_policy_route {
  uint32_t slot;               /**< which of the batch's sequences                                                            */
  uint32_t count;              /**< how many experts                                                                          */
  const cubby_object *objects; /**< [count], all of the visited row                                                           */
} cubby_policy_route;

/** A layer was computed for one token, or for one token of each sequence of a batch. */
typedef struct cubby_policy_visit {
  uint32_t struct_size;
  uint32_t bank;                    /**< index of the bank in the config                                                      */
  uint32_t row;                     /**< the layer                                                                            */
  uint32_t used_count;              /**< objects used                                                                         */
  const cubby_object *used;         /**< [used_count]: each once, in the order of the routes                                  */
  const uint64_t *next_use;         /**< [used_count]: number of the visit that uses it next; NULL but for OFFLINE policies   */
  const cubby_policy_route *routes; /**< [route_count]: which sequence chose what                                             */
  uint32_t route_count;             /**< sequences that took part                                                             */
  uint32_t prefill;                 /**< 1 = a prompt is being read                                                           */
  uint64_t number;                  /**< layer visits before this one, of all banks                                           */
  uint64_t now_ns;                  /**< the time                                                                             */
} cubby_policy_visit;

/** One block is touched. */
typedef struct cubby_policy_access {
  uint32_t struct_size;
  cubby_object object;  /**< the block                                                                                        */
  cubby_object parent;  /**< the block before it in its prefix; CUBBY_NO_OBJECT for the first                                 */
  uint32_t depth;       /**< blocks before it in its prefix                                                                   */
  uint32_t last;        /**< 1 = the last block of its request                                                                */
  uint32_t reserved_;
  uint64_t next_use;    /**< number of the request that uses it next; CUBBY_NEVER_USED but for OFFLINE policies               */
  uint64_t number;      /**< requests before the one it belongs to                                                            */
  uint64_t now_ns;      /**< the time                                                                                         */
} cubby_policy_access;

/** Room is needed. */
typedef struct cubby_policy_need {
  uint32_t struct_size;
  cubby_object incoming; /**< the newcomer; CUBBY_NO_OBJECT when the budget itself shrank                                     */
  uint64_t bytes;        /**< how much is missing                                                                             */
  uint64_t now_ns;       /**< the time                                                                                        */
} cubby_policy_need;

/** Kinds of hints. */
enum {
  CUBBY_POLICY_HINT_ROUTE = 0,     /**< objects expected `ahead` tokens from now, with probabilities                          */
  CUBBY_POLICY_HINT_CLOSED = 1,    /**< what the objects hold will not be asked for again                                     */
  CUBBY_POLICY_HINT_SCHEDULED = 2, /**< the objects will be asked for in when_ns                                              */
  CUBBY_POLICY_HINT_PRIORITY = 3   /**< the objects matter `priority` among others until ttl_ns has passed                    */
};

/** What the engine knows of the future. Fields that the kind does not name are zero. */
typedef struct cubby_policy_hint {
  uint32_t struct_size;
  uint32_t kind;               /**< CUBBY_POLICY_HINT_*                                                                       */
  uint32_t slot;               /**< ROUTE: which of the batch's sequences                                                     */
  uint32_t ahead;              /**< ROUTE: tokens from now                                                                    */
  uint32_t priority;           /**< PRIORITY: higher stays longer                                                             */
  uint32_t object_count;       /**< objects it is about                                                                       */
  const cubby_object *objects; /**< [object_count]                                                                            */
  const float *probabilities;  /**< ROUTE: [object_count], or NULL = certain                                                  */
  uint64_t when_ns;            /**< SCHEDULED: from now                                                                       */
  uint64_t ttl_ns;             /**< how long it holds; 0 = not said                                                           */
  uint64_t now_ns;             /**< the time                                                                                  */
} cubby_policy_hint;

/** What a policy says of itself. */
typedef struct cubby_policy_stats {
  uint32_t struct_size;
  uint32_t fallback;         /**< 1 while a simpler policy decides, because it does better or too much would be at stake      */
  uint64_t state_bytes;      /**< memory of the instance                                                                      */
  uint64_t used_count;       /**< objects used in visits and accesses                                                         */
  uint64_t insert_count;     /**< calls of inserted()                                                                         */
  uint64_t remove_count;     /**< calls of removed()                                                                          */
  uint64_t declined_count;   /**< newcomers that admit() refused                                                              */
  uint64_t fallback_count;   /**< times the simpler policy took over                                                          */
  char warning[160];         /**< a sentence when the budget is too small for the workload, with the number; else empty       */
} cubby_policy_stats;

/** The operations. Optional ones may be NULL; all others are needed. */
typedef struct cubby_policy_ops {
  uint32_t struct_size;
  uint32_t abi_version; /**< CUBBY_POLICY_ABI_VERSION the policy was compiled against                                         */
  const char *name;     /**< lower case; stands for ever                                                                      */
  uint32_t flags;       /**< CUBBY_POLICY_*                                                                                   */
  uint32_t reserved_;

  /** Make an instance; 0, -ENOMEM, or -EINVAL when the config makes no sense for this policy. */
  int32_t (*create)(const cubby_policy_config *config, cubby_policy **out);
  /** End it. */
  void (*destroy)(cubby_policy *policy);

  /** A layer was computed. */
  void (*visit)(cubby_policy *policy, const cubby_policy_visit *visit);
  /** A block is touched. */
  void (*access)(cubby_policy *policy, const cubby_policy_access *access);
  /** The object now lives in the tier. */
  void (*inserted)(cubby_policy *policy, cubby_object object, uint64_t bytes);
  /** It no longer does: evicted, dropped, moved away. */
  void (*removed)(cubby_policy *policy, cubby_object object);

  /** Begin a round of victims. */
  void (*begin_victims)(cubby_policy *policy, const cubby_policy_need *need);
  /** Name resident objects, the least worth keeping first, each once a round, and CUBBY_NO_OBJECT after the last. The driver
   * passes over those that are pinned or in flight, and need not ask to the end. No visit(), access() or inserted() comes within a
   * round. */
  cubby_object (*next_victim)(cubby_policy *policy);
  /** 1 = the newcomer may take the victim's place; 0 = it passes through. Optional; NULL = always 1. */
  int32_t (*admit)(cubby_policy *policy, cubby_object incoming, cubby_object victim);

  /** Knowledge of the future; 1 = taken, 0 = of no use to this policy. Optional. */
  int32_t (*hint)(cubby_policy *policy, const cubby_policy_hint *hint);
  /** The number stands for something else from now on; it is not resident. Optional. */
  void (*forget)(cubby_policy *policy, cubby_object object);
  /** Banks or objects were added, or the budget changed: the config as it stands now. 0 or -ENOMEM, then nothing has changed.
   * object_count is less than before where a bank could not be added after all: no call has named an object of it. */
  int32_t (*grow)(cubby_policy *policy, const cubby_policy_config *config);
  /** Fill *out. */
  void (*stats)(const cubby_policy *policy, cubby_policy_stats *out);
} cubby_policy_ops;

/** The one symbol that a policy library exports; the result stands as long as the library is loaded. */
typedef const cubby_policy_ops *(*cubby_policy_entry_fn)(void);
/** Its name. */
#define CUBBY_POLICY_ENTRY "cubby_policy_entry"

/** The library's own policy of that name; NULL when there is none. */
const cubby_policy_ops *cubby_policy_find(const char *name);
/** The policy of a shared library, which stays loaded until the process ends. NULL when the library cannot be opened, exports no
 * entry, was compiled against another version of this header, or lacks an operation: then a sentence in why ([why_bytes], may be
 * NULL) says so. The runtime does the same with a policy name that has a '/' in it or ends in ".so". May block on reading the file;
 * any thread. */
const cubby_policy_ops *cubby_policy_load(const char *library_path, char *why, uint64_t why_bytes);
/** All of them: fills at most max_count of out (which may be NULL) and returns how many there are. */
uint32_t cubby_policy_all(const cubby_policy_ops **out, uint32_t max_count);

#ifdef __cplusplus
}
#endif
#endif
