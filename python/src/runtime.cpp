#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>

#include "device.hpp"
#include "handles.hpp"
#include "queue.hpp"
#include "request.hpp"

namespace pycubby {

namespace {

struct runtime {
  std::shared_ptr<core> owner;
};

uint32_t pump_of(const std::string &name) {
  if (name == "thread") return CUBBY_PUMP_THREAD;
  if (name == "caller") return CUBBY_PUMP_CALLER;
  throw nb::value_error("pump is 'thread' or 'caller'");
}

void open_runtime(runtime *self, const std::string &pump, bool verify,
                  const std::optional<std::string> &policy, std::optional<uint32_t> workers,
                  uint32_t tickets_max, uint32_t log_lines_max, uint64_t table_bytes_max,
                  uint64_t seed, nb::handle profile) {
  const std::optional<std::string> profile_path = path_or_none(profile);
  cubby_config config{};
  config.struct_size = sizeof config;
  config.abi_version = CUBBY_ABI_VERSION;
  config.pump = pump_of(pump);
  config.verify = verify ? CUBBY_VERIFY_ON : CUBBY_VERIFY_OFF;
  config.policy = policy ? policy->c_str() : nullptr;
  config.tickets_max = tickets_max;
  config.log_lines_max = log_lines_max;
  config.table_bytes_max = table_bytes_max;
  config.seed = seed;
  config.profile = profile_path ? profile_path->c_str() : nullptr;
  if (workers) config.workers = *workers == 0 ? CUBBY_WORKERS_NONE : *workers;
  cubby *rt = nullptr;
  cubby_status status = CUBBY_OK;
  {
    const nb::gil_scoped_release others_run;
    status = cubby_open(&config, &rt);
  }
  check(status);
  auto opened = std::make_shared<core>(rt);
  add_live(opened);
  new (self) runtime{std::move(opened)};
}

tier add_tier(const runtime &r, const std::string &backend, const std::string &name,
              uint64_t budget_bytes, uint32_t rank, nb::handle paths,
              const std::vector<region> &memory, bool exclusive, int32_t device,
              uint64_t numa_nodes, uint32_t emulated_latency_ns, uint64_t emulated_bytes_per_s) {
  const std::vector<std::string> named = paths_of(paths);
  std::vector<const char *> path_list;
  for (const std::string &path : named) path_list.push_back(path.c_str());
  std::vector<cubby_region> lent;
  for (const region &each : memory) lent.push_back(each.handle);
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  if (exclusive) desc.flags = CUBBY_TIER_EXCLUSIVE;
  desc.backend = backend.c_str();
  desc.name = name.c_str();
  desc.rank = rank;
  desc.device = device;
  desc.numa_nodes = numa_nodes;
  desc.budget_bytes = budget_bytes;
  desc.memory = lent.empty() ? nullptr : lent.data();
  desc.memory_count = static_cast<uint32_t>(lent.size());
  desc.paths = path_list.empty() ? nullptr : path_list.data();
  desc.path_count = static_cast<uint32_t>(path_list.size());
  desc.emulated_latency_ns = emulated_latency_ns;
  desc.emulated_bytes_per_s = emulated_bytes_per_s;
  cubby_tier added = 0;
  check(r.owner->call([&](cubby *rt) { return cubby_tier_add(rt, &desc, &added); }));
  cubby_tier_info info{};
  info.struct_size = sizeof info;
  check(r.owner->call([&](cubby *rt) { return cubby_tier_describe(rt, added, &info); }));
  const bool on_device = std::string(info.backend) == "cuda";
  return tier{r.owner, added, name, on_device ? std::max(device, 0) : -1};
}

uint32_t kind_of(const std::string &name) {
  if (name == "experts") return CUBBY_BANK_EXPERTS;
  if (name == "kv") return CUBBY_BANK_KV;
  if (name == "rows") return CUBBY_BANK_ROWS;
  if (name == "other") return CUBBY_BANK_OTHER;
  throw nb::value_error("kind is 'experts', 'kv', 'rows' or 'other'");
}

std::shared_ptr<bank> add_bank(const runtime &r, const std::string &name, const std::string &kind,
                               uint32_t rows, uint32_t columns, uint64_t locker_bytes,
                               const std::vector<uint64_t> &part_bytes, uint32_t align_bytes,
                               uint32_t chunk_bytes, uint32_t routed_count,
                               const std::optional<std::string> &policy, uint32_t table_row_bytes,
                               uint64_t table_row_count) {
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = kind_of(kind);
  desc.name = name.c_str();
  desc.rows = rows;
  desc.columns = columns;
  desc.locker_bytes = locker_bytes;
  desc.part_count = static_cast<uint32_t>(part_bytes.size());
  desc.part_bytes = part_bytes.empty() ? nullptr : part_bytes.data();
  desc.align_bytes = align_bytes;
  desc.chunk_bytes = chunk_bytes;
  desc.routed_count = routed_count;
  desc.policy = policy ? policy->c_str() : nullptr;
  desc.table_row_bytes = table_row_bytes;
  desc.table_row_count = table_row_count;
  cubby_bank added = 0;
  check(r.owner->call([&](cubby *rt) { return cubby_bank_add(rt, &desc, &added); }));
  return bank::describe(r.owner, added);
}

cubby_adopt_desc adopt_desc(const std::optional<std::string> &tensors,
                            const std::optional<std::string> &seal_path, bool rows,
                            uint32_t page_bytes) {
  cubby_adopt_desc desc{};
  desc.struct_size = sizeof desc;
  desc.tensors = tensors ? tensors->c_str() : nullptr;
  desc.seal_path = seal_path ? seal_path->c_str() : nullptr;
  desc.kind = rows ? uint32_t{CUBBY_BANK_ROWS} : 0;
  desc.page_bytes = page_bytes;
  return desc;
}

std::shared_ptr<bank> adopt(const runtime &r, nb::handle model,
                            const std::optional<std::string> &tensors, nb::handle seal, bool rows,
                            uint32_t page_bytes) {
  const std::string path = path_of(model);
  const std::optional<std::string> seal_path = path_or_none(seal);
  const cubby_adopt_desc desc = adopt_desc(tensors, seal_path, rows, page_bytes);
  cubby_bank added = 0;
  check(
      r.owner->call([&](cubby *rt) { return cubby_bank_adopt(rt, path.c_str(), &desc, &added); }));
  return bank::describe(r.owner, added);
}

space add_space(const runtime &r, const std::shared_ptr<bank> &of, nb::bytes fingerprint,
                nb::bytes domain) {
  cubby_space_desc desc{};
  desc.struct_size = sizeof desc;
  desc.bank = of->handle;
  desc.fingerprint = fingerprint.c_str();
  desc.fingerprint_bytes = static_cast<uint32_t>(fingerprint.size());
  desc.domain = domain.c_str();
  desc.domain_bytes = static_cast<uint32_t>(domain.size());
  cubby_space added = 0;
  check(r.owner->call([&](cubby *rt) { return cubby_space_add(rt, &desc, &added); }));
  return space{r.owner, of, added};
}

region add_region(const runtime &r, nb::handle memory, uint64_t piece_bytes, uint64_t stride_bytes,
                  uint64_t piece_count) {
  auto lent = std::make_unique<memory_list>();
  const std::optional<device_memory> on_device = device_memory_of(memory);
  if (on_device) {
    lent->hold(memory);
  } else {
    lent->add_item(memory, true);
    if (lent->span_count(0) != 1) throw nb::value_error("a region is one piece of memory");
  }
  const cubby_span whole =
      on_device ? cubby_span{0, 0, on_device->address, on_device->bytes} : *lent->spans(0);
  if (whole.region != 0) throw nb::value_error("memory of a region is known already");
  if (piece_count != 0 &&
      (piece_bytes > whole.bytes || stride_bytes < piece_bytes ||
       (stride_bytes != 0 && piece_count - 1 > (whole.bytes - piece_bytes) / stride_bytes))) {
    throw nb::value_error("the pieces overlap, or end behind the memory");
  }
  cubby_region_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = on_device ? CUBBY_MEMORY_DEVICE : CUBBY_MEMORY_HOST;
  desc.device = on_device ? on_device->device : -1;
  desc.base = reinterpret_cast<void *>(static_cast<uintptr_t>(whole.offset_bytes));
  desc.bytes = whole.bytes;
  desc.piece_bytes = piece_bytes;
  desc.stride_bytes = stride_bytes;
  desc.piece_count = piece_count;
  cubby_region added = 0;
  check(r.owner->call([&](cubby *rt) { return cubby_region_add(rt, &desc, &added); }));
  r.owner->regions.emplace(added, std::move(lent));
  return region{r.owner, added, piece_count == 0 ? whole.bytes : piece_bytes * piece_count,
                desc.device};
}

std::shared_ptr<queue> add_queue(const runtime &r, uint32_t capacity) {
  cubby_cq *made = nullptr;
  check(r.owner->call([&](cubby *rt) { return cubby_cq_add(rt, capacity, &made); }));
  return std::make_shared<queue>(r.owner, made);
}

nb::object seal(const runtime &r, nb::handle model, const std::optional<std::string> &tensors,
                nb::handle to, bool rows, uint32_t page_bytes) {
  const std::string path = path_of(model);
  const std::optional<std::string> seal_path = path_or_none(to);
  const cubby_adopt_desc desc = adopt_desc(tensors, seal_path, rows, page_bytes);
  auto what = std::make_shared<request>();
  what->owner = r.owner.get();
  submit(what, options{}, 0, [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    cubby_how plain = *how;
    plain.item_status = nullptr;
    return cubby_seal(rt, path.c_str(), &desc, &plain, out);
  });
  if (what->status < 0) raise(error_of(*what));
  return ticket_of(r.owner, std::move(what));
}

bool drain(const runtime &r, nb::handle timeout) {
  const cubby_status status = wait_in_slices(timeout_of(timeout), [&](int64_t slice_ns) {
    return r.owner->call([&](cubby *rt) { return cubby_drain(rt, slice_ns); });
  });
  r.owner->look_after_all();
  if (status == CUBBY_ERR_TIMEOUT) return false;
  check(status);
  return true;
}

nb::object poll(const runtime &r) {
  uint64_t next_ns = 0;
  check(r.owner->call([&](cubby *rt) { return cubby_poll(rt, 0, &next_ns); }));
  if (next_ns == ~uint64_t{0}) return nb::none();
  return nb::int_(next_ns);
}

void bind_adding(nb::class_<runtime> &c) {
  c.def("add_tier", &add_tier, nb::arg("backend"), nb::arg("name"), nb::arg("budget_bytes") = 0,
        nb::kw_only(), nb::arg("rank") = 0, nb::arg("paths") = nb::list(),
        nb::arg("memory") = nb::list(), nb::arg("exclusive") = false, nb::arg("device") = -1,
        nb::arg("numa_nodes") = 0, nb::arg("emulated_latency_ns") = 0,
        nb::arg("emulated_bytes_per_s") = 0,
        "Adds a tier. backend: 'host' (memory), 'file' (a store of KV blocks in `paths`, of "
        "budget_bytes), or another one of the library. rank: 0 is nearest to compute. memory: "
        "Regions lent as its frames; none = its own. Blocks until its memory or store is there.")
      .def("add_bank", &add_bank, nb::arg("name"), nb::arg("kind"), nb::arg("rows"),
           nb::arg("columns"), nb::arg("locker_bytes"), nb::kw_only(),
           nb::arg("part_bytes") = nb::list(), nb::arg("align_bytes") = 0,
           nb::arg("chunk_bytes") = 0, nb::arg("routed_count") = 0,
           nb::arg("policy").none() = nb::none(), nb::arg("table_row_bytes") = 0,
           nb::arg("table_row_count") = 0,
           "Adds an empty bank of rows * columns lockers of locker_bytes each. kind: 'kv', "
           "'experts', 'rows' (pages of table_row_count rows of table_row_bytes) or 'other'.")
      .def("adopt", &adopt, nb::arg("path"), nb::kw_only(), nb::arg("tensors").none() = nb::none(),
           nb::arg("seal_path").none() = nb::none(), nb::arg("rows") = false,
           nb::arg("page_bytes") = 0,
           "Adopts the experts of a GGUF or safetensors file in place, also of a split or sharded "
           "one; nothing is copied. rows=True: the tensor of two dimensions that `tensors` names, "
           "as pages of rows for gather(). Blocks while headers are read.")
      .def("add_space", &add_space, nb::arg("bank"), nb::arg("fingerprint"),
           nb::arg("domain") = nb::bytes("", 0),
           "Opens a space of keys of a bank of kind 'kv'. fingerprint: bytes that name all that "
           "makes blocks interchangeable (model, dtype, layout, rank); domain: the tenant.")
      .def("add_region", &add_region, nb::arg("memory"), nb::kw_only(), nb::arg("piece_bytes") = 0,
           nb::arg("stride_bytes") = 0, nb::arg("piece_count") = 0,
           "Makes writable memory of the caller known: it is held until the region is removed or "
           "the runtime closed. With piece_count: of it so many pieces of piece_bytes each, "
           "stride_bytes apart; its bytes count through them as if they lay one behind the other, "
           "and as memory of a tier each piece is a frame. Memory of a device: an object with "
           "__cuda_array_interface__.")
      .def("queue", &add_queue, nb::arg("capacity") = 1024,
           "A CompletionQueue with places for `capacity` requests.");
}

}  // namespace

void bind_runtime(nb::module_ &m) {
  nb::class_<runtime> c(m, "Runtime", nb::is_weak_referenceable(),
                        "A runtime: tiers of memory and files, and lockers in them. A context "
                        "manager. Not usable in a child of fork (ForkedError): open another one "
                        "there. Every call may be made from any thread.");
  c.def("__init__", &open_runtime, nb::kw_only(), nb::arg("pump") = "thread",
        nb::arg("verify") = true, nb::arg("policy").none() = nb::none(),
        nb::arg("workers").none() = nb::none(), nb::arg("tickets_max") = 0,
        nb::arg("log_lines_max") = 0, nb::arg("table_bytes_max") = 0, nb::arg("seed") = 0,
        nb::arg("profile").none() = nb::none(),
        "pump: 'thread' (one of its own advances it) or 'caller' (poll() and waits do). verify: "
        "hold what is loaded against its digests. workers: threads that verify beside the pump; "
        "None = as many as are worth it, 0 = none. A 0 in the others means the default. "
        "profile: a file of `cubby characterize --save`, so that estimates and splits know how "
        "fast directories are read before anything was.");
  bind_adding(c);
  c.def("seal", &seal, nb::arg("path"), nb::kw_only(), nb::arg("tensors").none() = nb::none(),
        nb::arg("seal_path").none() = nb::none(), nb::arg("rows") = false,
        nb::arg("page_bytes") = 0,
        "Writes digests of a model file, to hold later loads against. A Ticket.")
      .def("drain", &drain, nb::arg("timeout").none() = nb::none(),
           "Blocks until nothing is in flight: True; or `timeout` seconds have passed: False.")
      .def("poll", &poll,
           "Caller pump: advances until nothing more can be done now. When to call again, in ns of "
           "CLOCK_MONOTONIC, or None. BusyError while another thread polls.")
      .def(
          "close", [](const runtime &r) { r.owner->close(); },
          "Completes or cancels what is open, writes back what was promised and ends the runtime. "
          "May be called twice. BufferError while buffers over pinned memory are in use; at the "
          "end "
          "of a `with` that an exception ends, that one stands, and the runtime ends with its "
          "last name.")
      .def_prop_ro(
          "closed", [](const runtime &r) { return r.owner->door.closed(); },
          "Whether close() was called.")
      .def(
          "stats", [](const runtime &r) { return stats_of(*r.owner); },
          "Counters since the runtime was opened: a dict of int, with a list of a dict a tier "
          "under 'tiers'. Names and units as in cubby.h.")
      .def(
          "metrics", [](const runtime &r) { return metrics_of(*r.owner); },
          "The counters as text for Prometheus; docs/metrics.md lists the names.")
      .def(
          "publish", [](const runtime &r, double interval) { publish(*r.owner, interval); },
          nb::arg("interval") = 1.0,
          "Shows the metrics to other processes of this user, renewed every `interval` seconds: "
          "`cubby top` finds them. 0 ends it.")
      .def(
          "take_log", [](const runtime &r, uint32_t max) { return log_of(*r.owner, max); },
          nb::arg("max_count") = 64,
          "Takes lines of the log: a list of (at_ns, level, tier, text); level 0 error, 1 warning, "
          "2 notice, 3 detail.")
      .def("__enter__", [](nb::object self) { return self; })
      .def("__exit__", [](const runtime &r, const nb::args &exit) {
        end_of_with(exit, [&] { r.owner->close(); });
      });
}

}  // namespace pycubby
