// Regions and tiers.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "api/guard.hpp"
#include "api/overlap.hpp"
#include "api/requests.hpp"
#include "api/runtime.hpp"
#include "api/spans.hpp"
#include "base/checked.hpp"
#include "platform/boot.hpp"
#include "store/durable/open_store.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

using ull = unsigned long long;

/// Of KV blocks, at most: says for how many a new store has numbers.
constexpr uint64_t usual_block_bytes = 64u << 10;

/// What no process has the addresses for: pointers have 57 bits at most, half of them the kernel's.
bool beyond_memory(uint64_t first, uint64_t bytes) {
  constexpr uint64_t address_end = uint64_t{1} << 56;
  return first >= address_end || bytes > address_end - first;
}

error no_such_memory(uint64_t first, uint64_t bytes) {
  return fail(CUBBY_ERR_INVALID,
              "a region of %llu bytes at 0x%llx ends beyond every address that a process has; look "
              "at bytes, stride_bytes and piece_count",
              static_cast<ull>(bytes), static_cast<ull>(first));
}

result<void> check_region(const cubby_region_desc &desc) {
  if (desc.kind > CUBBY_MEMORY_DEVICE) {
    return fail(CUBBY_ERR_INVALID, "cubby_region_desc.kind %u is not known", desc.kind);
  }
  const bool shared = desc.kind == CUBBY_MEMORY_SHARED_FD;
  if (shared && desc.base != nullptr) {
    return fail(CUBBY_ERR_INVALID,
                "a region of a shared file is mapped by the library: set base to NULL, or map it "
                "yourself and add it as CUBBY_MEMORY_HOST");
  }
  if (!shared && desc.base == nullptr) {
    return fail(CUBBY_ERR_INVALID, "cubby_region_desc.base is NULL");
  }
  const auto first = reinterpret_cast<uintptr_t>(desc.base);
  if (desc.piece_count == 0) {
    if (desc.bytes == 0) return fail(CUBBY_ERR_INVALID, "a plain region has no bytes");
    if (beyond_memory(first, desc.bytes)) return no_such_memory(first, desc.bytes);
    return {};
  }
  const auto span = base::checked_multiply(desc.stride_bytes, desc.piece_count);
  if (desc.piece_bytes == 0 || desc.piece_bytes > desc.stride_bytes || !span) {
    return fail(CUBBY_ERR_INVALID,
                "a strided region of %llu pieces of %llu bytes, %llu apart: "
                "pieces must not overlap nor be empty",
                static_cast<ull>(desc.piece_count), static_cast<ull>(desc.piece_bytes),
                static_cast<ull>(desc.stride_bytes));
  }
  // The last piece need not have a whole stride.
  const uint64_t bytes = *span - desc.stride_bytes + desc.piece_bytes;
  if (desc.bytes != 0 && desc.bytes < bytes) {
    error failure = fail(CUBBY_ERR_INVALID,
                         "a strided region of %llu bytes has %llu pieces of %llu bytes, %llu "
                         "apart, which reach over %llu; look at bytes, or set it to 0",
                         static_cast<ull>(desc.bytes), static_cast<ull>(desc.piece_count),
                         static_cast<ull>(desc.piece_bytes), static_cast<ull>(desc.stride_bytes),
                         static_cast<ull>(bytes));
    failure.needed_bytes = bytes;
    return failure;
  }
  if (beyond_memory(first, bytes)) return no_such_memory(first, bytes);
  return {};
}

/// The caller's file in this process, from its first byte on.
result<void *> map_file(const cubby_region_desc &desc) {
  const uint64_t bytes = span_of(desc);
  struct stat seen {};
  if (::fstat(desc.fd, &seen) != 0) {
    if (errno == EBADF) {
      return fail(CUBBY_ERR_INVALID,
                  "a region of a shared file: descriptor %d is not open; set fd to one that is, "
                  "opened with O_RDWR",
                  desc.fd);
    }
    return fail_errno(errno, "a region of a shared file: descriptor %d cannot be looked at",
                      desc.fd);
  }
  if (S_ISREG(seen.st_mode) && static_cast<uint64_t>(seen.st_size) < bytes) {
    error why = fail(CUBBY_ERR_INVALID,
                     "a region of a shared file: it has %llu bytes and the region %llu; make the "
                     "file longer first",
                     static_cast<ull>(seen.st_size), static_cast<ull>(bytes));
    why.needed_bytes = bytes;
    return why;
  }
  void *const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, desc.fd, 0);
  if (at == MAP_FAILED) {
    return fail_errno(errno,
                      "a region of a shared file: %llu bytes of descriptor %d could not be mapped "
                      "to be read and written; open it with O_RDWR",
                      static_cast<ull>(bytes), desc.fd);
  }
  return at;
}

cubby_status unknown_tier(cubby_tier tier) {
  return keep_error(fail(CUBBY_ERR_STALE, "tier %u is not one of this runtime", tier));
}

/// The directories of a file tier must be there, and writable.
result<void> check_paths(const cubby_tier_desc &desc) {
  if (desc.path_count != 0 && desc.paths == nullptr) {
    return fail(CUBBY_ERR_INVALID, "tier %s: paths is NULL", desc.name);
  }
  for (uint32_t i = 0; i < desc.path_count; ++i) {
    struct stat seen {};
    if (desc.paths[i] == nullptr || ::stat(desc.paths[i], &seen) != 0) {
      return fail_errno(desc.paths[i] == nullptr ? EINVAL : errno,
                        "tier %s: the directory %s cannot be used; make it first", desc.name,
                        desc.paths[i] == nullptr ? "(NULL)" : desc.paths[i]);
    }
    if (!S_ISDIR(seen.st_mode)) {
      return fail_errno(ENOTDIR, "tier %s: %s is no directory", desc.name, desc.paths[i]);
    }
    for (uint32_t other = 0; other < i; ++other) {
      struct stat same {};
      if (::stat(desc.paths[other], &same) != 0 || same.st_ino != seen.st_ino ||
          same.st_dev != seen.st_dev)
        continue;
      return fail(CUBBY_ERR_INVALID, "tier %s: %s and %s are one directory; name each once",
                  desc.name, desc.paths[other], desc.paths[i]);
    }
    if (::access(desc.paths[i], W_OK) != 0) {
      return fail_errno(errno,
                        "tier %s: nothing may be written in %s; change its mode, or mount it "
                        "writable",
                        desc.name, desc.paths[i]);
    }
  }
  return {};
}

std::vector<std::string> directories_of(const cubby_tier_desc &desc) {
  return {desc.paths, desc.paths + desc.path_count};
}

/// A device's frames are its own memory, and a host's the host's: where a tier has the wrong kind,
/// the first copy would fail, or fault.
result<void> check_lent(runtime &self, const cubby_tier_desc &desc,
                        tier::backend_instance &backend) {
  const bool device = backend.takes_device_memory();
  for (uint32_t i = 0; i < desc.memory_count; ++i) {
    const cubby_region_desc &of = find_region(self, desc.memory[i])->desc;
    if ((of.kind == CUBBY_MEMORY_DEVICE) != device) {
      return fail(CUBBY_ERR_INVALID,
                  "tier %s: lent region %u is memory of %s, and backend %s has frames of %s",
                  desc.name, i, device ? "the host" : "a device", desc.backend,
                  device ? "a device" : "the host");
    }
    if (!device) continue;
    if (auto ours = backend.check_memory(of.base, span_of(of)); !ours) return ours;
  }
  return {};
}

result<std::vector<tier::lent_memory>> lent_memory_of(runtime &self, const cubby_tier_desc &desc) {
  std::vector<tier::lent_memory> lent;
  if ((desc.memory == nullptr) != (desc.memory_count == 0)) {
    return fail(
        CUBBY_ERR_INVALID,
        "tier %s: memory is %s and memory_count is %u; set both for lent memory, or neither "
        "for the library's own",
        desc.name, desc.memory == nullptr ? "NULL" : "given", desc.memory_count);
  }
  if (desc.memory == nullptr) return lent;
  if (desc.memory_count > CUBBY_PARTS_MAX) {
    return fail(CUBBY_ERR_INVALID, "tier %s: %u lent regions, %d are possible", desc.name,
                desc.memory_count, CUBBY_PARTS_MAX);
  }
  for (uint32_t i = 0; i < desc.memory_count; ++i) {
    const region *one = find_region(self, desc.memory[i]);
    if (one == nullptr) {
      return fail(CUBBY_ERR_STALE, "tier %s: lent region %u is not one of this runtime", desc.name,
                  i);
    }
    const bool strided = one->desc.piece_count != 0;
    if (!strided && desc.memory_count != 1) {
      return fail(CUBBY_ERR_INVALID, "tier %s: several lent regions must all be strided",
                  desc.name);
    }
    lent.push_back({static_cast<std::byte *>(one->desc.base), one->desc.bytes,
                    one->desc.stride_bytes, one->desc.piece_bytes, one->desc.piece_count});
  }
  return lent;
}

/// Frames of two tiers, or of two parts, in the same bytes would be written over each other. The
/// pump is held.
result<void> check_apart(runtime &self, const cubby_tier_desc &desc) {
  const auto check = [&](uint32_t i, cubby_region handle, const std::string &whose) {
    const cubby_region_desc &of = find_region(self, desc.memory[i])->desc;
    const cubby_region_desc &other = find_region(self, handle)->desc;
    if (!overlap(of, other)) return result<void>();
    return result<void>(fail(CUBBY_ERR_INVALID,
                             "tier %s: lent region %u has bytes of a region that %s has; lend each "
                             "byte once",
                             desc.name, i, whose.c_str()));
  };
  const engine::tier_set &tiers = self.engine().state.tiers;
  for (uint32_t i = 0; i < desc.memory_count; ++i) {
    for (uint32_t k = 0; k < i; ++k) {
      if (auto apart = check(i, desc.memory[k], "it"); !apart) return apart;
    }
    for (uint32_t t = 0; t < tiers.count(); ++t) {
      for (const cubby_region lent : tiers[t].regions) {
        if (auto apart = check(i, lent, "tier " + tiers[t].name); !apart) return apart;
      }
    }
  }
  return {};
}

/// Own memory is touched as it is taken: a budget beyond the machine must be refused before that.
result<void> check_machine(const std::string &tier, const std::string &backend, bool lent,
                           uint64_t budget_bytes) {
  const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  if (lent || backend != "host" || pages <= 0 || page_bytes <= 0) return {};
  const uint64_t machine_bytes = static_cast<uint64_t>(pages) * static_cast<uint64_t>(page_bytes);
  if (budget_bytes <= machine_bytes) return {};
  error failure =
      fail(CUBBY_ERR_BUDGET,
           "tier %s: a budget of %llu bytes was asked for, the "
           "machine has %llu bytes of memory; ask for less",
           tier.c_str(), static_cast<ull>(budget_bytes), static_cast<ull>(machine_bytes));
  failure.needed_bytes = budget_bytes;
  return failure;
}

cubby_status add_memory(runtime &self, const cubby_tier_desc &desc, const tier::backend_kind &kind,
                        cubby_tier *out) {
  std::unique_lock regions(self.region_mutex, std::defer_lock);
  if (desc.memory_count != 0) regions.lock();  // taking memory may be slow
  auto lent = lent_memory_of(self, desc);
  if (!lent) return keep_error(lent.failure());
  if (auto apart = check_apart(self, desc); !apart) return keep_error(apart.failure());
  if (desc.budget_bytes < tier::frame_align_bytes && lent->empty()) {
    error failure = fail(CUBBY_ERR_BUDGET,
                         "tier %s: a budget of %llu bytes holds nothing; at least "
                         "4096 are needed, or leave the tier out",
                         desc.name, static_cast<ull>(desc.budget_bytes));
    failure.needed_bytes = tier::frame_align_bytes;
    return keep_error(failure);
  }
  const bool lends = !lent->empty();
  if (auto fits = check_machine(desc.name, desc.backend, lends, desc.budget_bytes); !fits) {
    return keep_error(fits.failure());
  }
  auto room = self.budgets.check_tables(self.engine().numbers.table_bytes_of_tier(), desc.name);
  if (!room) return keep_error(room.failure());
  cubby_backend_config with{};
  with.struct_size = sizeof with;
  with.device = desc.device;
  with.name = desc.name;
  with.numa_nodes = desc.numa_nodes;
  with.emulated_bytes_per_s = desc.emulated_bytes_per_s;
  with.emulated_latency_ns = desc.emulated_latency_ns;
  auto backend = tier::backend_instance::open(kind, self.services.table(), with);
  if (!backend) return keep_error(backend.failure());
  if (auto lent_ok = check_lent(self, desc, **backend); !lent_ok) {
    return keep_error(lent_ok.failure());
  }
  engine::set_up::memory_tier_request wanted;
  wanted.name = desc.name;
  wanted.rank = desc.rank;
  wanted.flags = desc.flags;
  wanted.budget_bytes = desc.budget_bytes;
  wanted.lent = *lent;
  for (uint32_t i = 0; i < lent->size(); ++i) wanted.regions.push_back(desc.memory[i]);
  auto added = self.engine().setup.add_memory_tier(wanted, std::move(*backend));
  if (!added) return keep_error(added.failure());
  for (uint32_t i = 0; i < lent->size(); ++i) ++find_region(self, desc.memory[i])->used;
  *out = self.engine().state.tiers[*added].handle;
  self.budgets.warn_working_set(self.log_lines, self.now());
  return CUBBY_OK;
}

std::string list_of_nodes(uint64_t nodes) {
  std::string text;
  for (int node = 0; node < 64; ++node) {
    if ((nodes >> node & 1) == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(node);
  }
  return text;
}

/// The kernel binds to those of the nodes that are there, and says nothing of the others.
result<void> check_nodes(runtime &self, const cubby_tier_desc &desc) {
  if (desc.numa_nodes == 0) return {};
  const platform::topology &here = self.services.nodes();
  if (here.source == "assumed") return {};  // the kernel may know of more
  const uint64_t there = here.memory_nodes();
  const uint64_t missing = desc.numa_nodes & ~there;
  if (missing == 0) return {};
  return fail(CUBBY_ERR_INVALID,
              "tier %s: numa_nodes 0x%llx names node %s, and this machine has memory on %s; a bit "
              "a node, or 0 for any",
              desc.name, static_cast<ull>(desc.numa_nodes), list_of_nodes(missing).c_str(),
              list_of_nodes(there).c_str());
}

/// What a new store's blocks are likely to be like: those of the banks that are there already.
uint64_t block_bytes_for(runtime &self) {
  uint64_t bytes = usual_block_bytes;
  const auto lock = self.hold_pump();
  for (const residency::locker_bank *bank : self.engine().state.banks.in_order()) {
    if (bank->blocks != nullptr) bytes = std::min(bytes, bank->locker_bytes(0));
  }
  return bytes;
}

/// The store of KV blocks in the tier's directories; nothing without a budget for one.
result<std::optional<store::opened_store>> open_store_of(runtime &self,
                                                         const cubby_tier_desc &desc) {
  if (desc.budget_bytes == 0 || desc.path_count == 0) return std::optional<store::opened_store>{};
  store::store_options options;
  options.directories = directories_of(desc);
  options.budget_bytes = desc.budget_bytes;
  options.block_bytes = block_bytes_for(self);
  options.boot = platform::this_boot();
  auto opened = store::open_store(options);
  if (!opened) return opened.failure();
  const store::recovery_report &report = opened->content.report;
  for (const store::store_file &file : opened->files) {
    for (const std::string &note : file.notes()) self.log(2, 0, note);
  }
  uint64_t bytes = 0;
  for (const store::store_file &file : opened->files) bytes += file.bytes();
  if (bytes > desc.budget_bytes) {
    self.log(1, 0,
             format_text("tier %s: its store was made with %llu bytes, more than the budget of "
                         "%llu, and keeps them",
                         desc.name, static_cast<ull>(bytes), static_cast<ull>(desc.budget_bytes)));
  }
  if (report.first_bad_bytes != 0) {
    self.log(1, 0,
             format_text("tier %s: the store is damaged at byte %llu of %s: %llu blocks and %llu "
                         "records were lost, the others are good",
                         desc.name, static_cast<ull>(report.first_bad_bytes),
                         opened->files[0].path().c_str(), static_cast<ull>(report.entries_bad),
                         static_cast<ull>(report.records_bad)));
  }
  if (report.journal_lost_pages != 0) {
    self.log(1, 0,
             format_text("tier %s: the journal of the store ends early, at byte %llu of %s: the "
                         "last %llu pages of it are gone, with up to %u puts and erases each",
                         desc.name, static_cast<ull>(report.journal_ends_bytes),
                         opened->files[0].path().c_str(),
                         static_cast<ull>(report.journal_lost_pages), store::records_per_page));
  }
  return std::optional<store::opened_store>(std::move(*opened));
}

/// What of a file tier is looked up before the pump is held.
struct on_disk {
  std::optional<store::opened_store> store;
  std::optional<store::read_speed> speed;
};

cubby_status add_files(runtime &self, const cubby_tier_desc &desc, const char *backend_name,
                       on_disk found, cubby_tier *out) {
  if (desc.memory_count != 0) CUBBY_REFUSE("tier %s: a file tier has no lent memory", desc.name);
  if (desc.flags != 0) CUBBY_REFUSE("tier %s: CUBBY_TIER_EXCLUSIVE is for memory tiers", desc.name);
  if (desc.emulated_bytes_per_s != 0 || desc.emulated_latency_ns != 0) {
    self.log(1, 0,
             std::string("tier ") + desc.name +
                 ": files are not emulated; the emulated "
                 "speed and latency are not used");
  }
  auto opened = self.backends.open_files(backend_name, desc.name);
  if (!opened) return keep_error(opened.failure());
  auto added =
      self.engine().setup.add_file_tier(desc.name, desc.rank, directories_of(desc),
                                        std::move(opened->backend), std::move(found.store));
  if (!added) return keep_error(added.failure());
  if (found.speed) self.engine().state.tiers[*added].assume_speed(*found.speed);
  self.engine().state.tiers[*added].note = std::move(opened->note);
  *out = self.engine().state.tiers[*added].handle;
  self.budgets.warn_store_numbers(self.log_lines, self.now());
  return CUBBY_OK;
}

result<bool> takes_paths(runtime &self, const std::string &backend) {
  if (backend == "file") return true;
  const auto lock = self.hold_pump();
  auto kind = self.backends.find(backend);
  if (!kind) return kind.failure();
  return (kind->ops.capabilities & CUBBY_CAP_FILES) != 0;
}

}  // namespace

cubby_status cubby_region_add(cubby_handle *rt, const cubby_region_desc *desc, cubby_region *out) {
  CUBBY_ENTER(rt);
  if (desc == nullptr || out == nullptr || desc->struct_size == 0) {
    CUBBY_REFUSE("cubby_region_add: desc or out is NULL, or struct_size is 0");
  }
  return guarded([&]() -> cubby_status {
    const cubby_region_desc asked = read_struct(*desc);
    if (auto checked = check_region(asked); !checked) return keep_error(checked.failure());
    const std::lock_guard lock(self.region_mutex);
    size_t index = 0;
    while (index < self.regions.size() && self.regions[index].handle != 0) ++index;
    if (index == self.regions.size()) self.regions.emplace_back();
    if (index >= 0xFFFF) CUBBY_REFUSE("a runtime has at most 65535 regions");
    region &made = self.regions[index];
    made.desc = asked;
    if (asked.kind == CUBBY_MEMORY_SHARED_FD) {
      const auto mapped = map_file(asked);
      if (!mapped) return keep_error(mapped.failure());
      made.desc.base = *mapped;
      made.mapped_bytes = span_of(asked);
    }
    made.used = 0;
    made.handle = self.next_region_mark() << 16 | static_cast<uint32_t>(index + 1);
    *out = made.handle;
    return CUBBY_OK;
  });
}

cubby_status cubby_region_remove(cubby_handle *rt, cubby_region handle) {
  CUBBY_ENTER(rt);
  const std::lock_guard lock(self.region_mutex);
  region *one = find_region(self, handle);
  if (one == nullptr) {
    return keep_error(fail(CUBBY_ERR_STALE, "region %u is not one of this runtime", handle));
  }
  if (one->used != 0) {
    return keep_error(fail(CUBBY_ERR_BUSY,
                           "region %u is the memory of tiers, or of calls under way: %u in all",
                           handle, one->used.load()));
  }
  one->handle = 0;
  one->unmap();
  return CUBBY_OK;
}

cubby_status cubby_tier_add(cubby_handle *rt, const cubby_tier_desc *desc, cubby_tier *out) {
  CUBBY_ENTER_WAITING(rt);  // for the file system
  if (desc == nullptr || out == nullptr || desc->struct_size == 0) {
    CUBBY_REFUSE("cubby_tier_add: desc or out is NULL, or struct_size is 0");
  }
  return guarded([&]() -> cubby_status {
    cubby_tier_desc asked = read_struct(*desc);
    if (asked.backend == nullptr || asked.name == nullptr || asked.name[0] == '\0') {
      CUBBY_REFUSE("cubby_tier_add: backend or name is missing");
    }
    if ((asked.flags & ~static_cast<uint32_t>(CUBBY_TIER_EXCLUSIVE)) != 0) {
      CUBBY_REFUSE("tier %s: flags 0x%x are not known", asked.name, asked.flags);
    }
    if (auto there = check_nodes(self, asked); !there) return keep_error(there.failure());
    const std::string backend = asked.backend;
    auto is_file = takes_paths(self, backend);
    if (!is_file) return keep_error(is_file.failure());
    // Before the pump is held: a file system may take as long as it likes.
    if (auto checked = *is_file ? check_paths(asked) : result<void>(); !checked) {
      return keep_error(checked.failure());
    }
    auto store = *is_file ? open_store_of(self, asked)
                          : result<std::optional<store::opened_store>>(std::nullopt);
    if (!store) return keep_error(store.failure());
    on_disk found{std::move(*store), {}};
    if (*is_file) found.speed = self.profile.of_devices_below(directories_of(asked));
    const auto lock = self.hold_pump();
    for (uint32_t i = 0; i < self.engine().state.tiers.count(); ++i) {
      if (self.engine().state.tiers[i].name == asked.name) {
        CUBBY_REFUSE("there is a tier called %s already", asked.name);
      }
    }
    if (backend == "file") return add_files(self, asked, "file", std::move(found), out);
    auto kind = self.backends.find(backend);
    if (!kind) return keep_error(kind.failure());
    if ((kind->ops.capabilities & CUBBY_CAP_FILES) != 0) {
      return add_files(self, asked, asked.backend, std::move(found), out);
    }
    return add_memory(self, asked, *kind, out);
  });
}

cubby_status cubby_tier_resize(cubby_handle *rt, cubby_tier tier, uint64_t budget_bytes,
                               cubby_ticket *ticket) {
  CUBBY_ENTER(rt);
  if (ticket != nullptr) *ticket = 0;
  return guarded([&]() -> cubby_status {
    const uint32_t index = self.engine().state.tiers.find(tier);
    if (index == engine::no_tier) return unknown_tier(tier);
    request_place place(self, ticket == nullptr);
    if (place.index == engine::no_index) return no_ticket();
    {
      const auto lock = self.hold_pump();
      engine::tier_slot &slot = self.engine().state.tiers[index];
      if (slot.memory == nullptr) {
        CUBBY_REFUSE("tier %s has no budget of memory", slot.name.c_str());
      }
      const uint64_t pinned = self.engine().numbers.pinned_bytes(index);
      if (budget_bytes < std::max(pinned, tier::frame_align_bytes)) {
        const uint64_t least = std::max(pinned, tier::frame_align_bytes);
        error failure = fail(CUBBY_ERR_BUDGET,
                             "tier %s: a budget of %llu bytes was asked for, and %llu are pinned; "
                             "ask for %llu at least, or unpin first",
                             slot.name.c_str(), static_cast<ull>(budget_bytes),
                             static_cast<ull>(pinned), static_cast<ull>(least));
        failure.tier = tier;
        failure.needed_bytes = least;
        return keep_error(failure);
      }
      // A lent tier holds the budget against its own memory.
      if (auto fits = check_machine(slot.name, slot.backend, false, budget_bytes); !fits) {
        return keep_error(fits.failure());
      }
      if (auto set = self.engine().setup.resize(index, budget_bytes); !set) {
        return keep_error(set.failure());
      }
      self.budgets.warn_working_set(self.log_lines, self.now());
    }
    const uint32_t made = place.use();
    engine::request &r = self.engine().requests[made];
    r.verb = engine::resize_verb{};
    prepare_request(self, r, index, cubby_how{});
    return submit_request(self, made, ticket);
  });
}
