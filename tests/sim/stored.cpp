#include "sim/stored.hpp"

#include <stdlib.h>

#include <algorithm>

#include "api/in_process.hpp"
#include "sim/sim.hpp"
#include "sim/weighted.hpp"

namespace sim {
namespace {

constexpr uint64_t block_bytes = 8192, store_bytes = uint64_t{2} << 20;
constexpr uint64_t host_bytes = 12 * block_bytes;
constexpr uint32_t columns = 64;
constexpr size_t known_max = 24, puts_max = 6, leases_max = 5;
constexpr uint64_t polls_max = 20'000;

std::string said(cubby_status status) {
  char text[256] = "";
  cubby_explain(nullptr, text, sizeof text);
  return std::string(cubby_status_name(status)) + ": " + text;
}

/// Blocks 2n and 2n + 1 are different tenants' and have one name.
std::string name_of(uint32_t number) { return "block " + std::to_string(number / 2); }

cubby_key key_of(const std::string &name) {
  return {name.data(), static_cast<uint32_t>(name.size())};
}

std::filesystem::path new_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "cubby_sim_XXXXXX").string();
  return mkdtemp(name.data()) == nullptr ? std::filesystem::path() : std::filesystem::path(name);
}

cubby_sim::world_options world_of(uint64_t seed) {
  cubby_sim::world_options options;
  options.seed = seed;
  options.arena_bytes = uint64_t{4} << 20;
  options.real_files = true;  // whose writes and flushes are watched
  return options;
}

}  // namespace

stored_run::stored_run(const run_options &options)
    : options_(options),
      steps_(options.steps / 6),
      random_(cubby::base::mix64(options.seed + 0x570)),
      folder_(new_folder()),
      world_(world_of(options.seed)),
      power_((folder_ / "cubby.store").string()) {}

stored_run::~stored_run() {
  // After a violation the runtime is left as it is: closing it may wait for ever.
  if (violations_.empty() && rt_ != nullptr) cubby_close(rt_);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void stored_run::violate(const std::string &text) {
  if (violations_.empty()) violations_.push_back({options_.seed, step_, "P4", text, log_.last()});
}

// ---- lives -----------------------------------------------------------------------------------

bool stored_run::add_tiers() {
  const std::string path = folder_.string();
  const char *const paths = path.c_str();
  cubby_tier_desc host{}, disk{};
  host.struct_size = disk.struct_size = sizeof host;
  host.device = disk.device = -1;
  host.backend = "sim-memory";
  host.name = "host:0";
  host.rank = 1;
  host.budget_bytes = host_bytes;
  disk.backend = "sim-file";
  disk.name = "disk:0";
  disk.rank = 2;
  disk.budget_bytes = store_bytes;
  disk.paths = &paths;
  disk.path_count = 1;
  cubby_tier made = 0;
  return cubby_tier_add(rt_, &host, &made) == CUBBY_OK &&
         cubby_tier_add(rt_, &disk, &made) == CUBBY_OK;
}

bool stored_run::add_space(uint32_t tenant) {
  const char *const domains[tenants] = {"tenant a", "tenant b"};
  cubby_space_desc space{};
  space.struct_size = sizeof space;
  space.bank = bank_;
  space.fingerprint = "model";
  space.fingerprint_bytes = 5;
  space.domain = domains[tenant];
  space.domain_bytes = 8;
  const cubby_status status = cubby_space_add(rt_, &space, &spaces_[tenant]);
  if (status != CUBBY_OK) violate("a space is not added: " + said(status));
  return status == CUBBY_OK;
}

bool stored_run::open() {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.abi_version = CUBBY_ABI_VERSION;
  config.pump = CUBBY_PUMP_CALLER;
  config.seed = options_.seed;
  if (!options_.policy.empty()) config.policy = options_.policy.c_str();
  if (const cubby_status status = cubby_open(&config, &rt_); status != CUBBY_OK) {
    violate("cubby_open says " + said(status));
    return false;
  }
  for (const cubby_backend_ops *ops : {cubby_sim_file_backend(), cubby_sim_memory_backend()})
    if (const auto status = cubby::api::register_backend(rt_, ops, &world_); status != CUBBY_OK)
      violate("a backend was not accepted: " + said(status));
  cubby_bank_desc bank{};
  bank.struct_size = sizeof bank;
  bank.kind = CUBBY_BANK_KV;
  bank.name = "blocks";
  bank.rows = 1;
  bank.columns = columns;
  bank.locker_bytes = block_bytes;
  bool good = poll() && cubby_bank_add(rt_, &bank, &bank_) == CUBBY_OK && add_tiers();
  for (uint32_t tenant = 0; tenant < tenants; ++tenant) good = good && add_space(tenant);
  if (!good) violate("a store is not opened: " + said(CUBBY_ERR_INVALID));
  next_end_ = step_ + 20 + random_.below(60);
  return good;
}

/// The process ends, one way or another, and the next one opens what it has left.
void stored_run::end_life(ending how) {
  // The next process is to find what is in the page cache alone.
  const bool flush_failed = power_.flush_failed();
  if (flush_failed && how == ending::power_cut && chance(80)) how = ending::killed;
  log_.add(step_, "life ends how=%" PRIu64 " puts=%" PRIu64, static_cast<uint64_t>(how),
           puts_.size(), 0, 0);
  const store_disk::image at_once = power_.left(how, random_);
  if (how != ending::closed) world_.writes = nullptr;  // nothing of it happens any more
  world_.heal();
  const cubby_status closed = cubby_close(rt_);
  rt_ = nullptr;
  if (closed != CUBBY_OK) return violate("a close says " + said(closed));
  const bool in_order = how == ending::closed;
  power_.restore(how, in_order ? power_.left(how, random_) : at_once);
  world_.writes = &power_;
  puts_.clear();
  leases_.clear();
  for (auto &[number, one] : blocks_) one.pending = false;
  if (!open()) return;
  moves_.set(static_cast<size_t>(how == ending::power_cut ? seen::power_cut : seen::reopened));
  if (how != ending::power_cut && hasty_life(flush_failed)) return end_life(ending::power_cut);
  check_all(how);
  calm_ = chance(40);
  cubby_sim::fault_rates weather{};
  if (!calm_) {
    const uint64_t rate = 2'000 + random_.below(40'000);
    cubby_sim::rate_of(weather, cubby_sim::fault::eio_transient) = static_cast<uint32_t>(rate);
  }
  world_.set_rates(weather);
}

/// One that puts what it has found as durable, and loses power before it has done anything else.
bool stored_run::hasty_life(bool flush_failed) {
  if (!chance(flush_failed ? 90 : 50)) return false;
  bool any = false;
  calm_ = true;
  // At once, or when what the opening writes and flushes is over.
  const uint64_t polls = !flush_failed && chance(50) ? 0 : 40;
  for (uint64_t i = 0; i < polls && poll(); ++i)
    now_ns_ = next_ns_ == ~uint64_t{0} ? now_ns_ + 50'000 : std::max(now_ns_, next_ns_);
  for (auto &[number, one] : blocks_) {
    if (one.keep == CUBBY_KEEP_DURABLE || !is_found(number) || !one.stored_ever) continue;
    ask(number, CUBBY_KEEP_DURABLE);
    any = true;
    if (puts_.size() >= puts_max) break;
  }
  return any && violations_.empty();
}

bool stored_run::is_found(uint32_t number) {
  const std::string name = name_of(number);
  const cubby_key key = key_of(name);
  uint32_t leading = 0;
  uint8_t state = 0;
  const cubby_status status =
      cubby_match(rt_, space_of(number), &key, 1, nullptr, &leading, &state);
  if (status != CUBBY_OK) violate("match says " + said(status));
  return state >= CUBBY_STATE_FILE;
}

void stored_run::check_all(ending how) {
  for (auto &[number, one] : blocks_) {
    if (!violations_.empty()) return;
    const bool promised =
        one.known && (one.keep == CUBBY_KEEP_DURABLE ||
                      (one.keep == CUBBY_KEEP_RESTART && how != ending::power_cut));
    if (is_found(number)) {
      check_found(one, number, how);
    } else if (promised) {
      violate(name_of(number) + " was acknowledged and is lost");
    } else {
      one.known = false;
    }
  }
}

void stored_run::check_found(block &one, uint32_t number, ending how) {
  if (!one.stored_ever) return violate(name_of(number) + " was not to outlive the process");
  std::string bytes;
  const cubby_status status = get(number, bytes);
  log_.add(step_, "found key=%" PRIu64, number, 0, 0, status);
  if (status == CUBBY_OK) {
    if (bytes != content(number)) return violate(name_of(number) + " is found with other bytes");
    if (!one.known) one.keep = CUBBY_KEEP_RESTART;
    one.known = true;
    return;
  }
  // What was not flushed may be damaged by a power cut, and is found to be.
  one.damaged = one.damaged || how == ending::power_cut;
  if (status != CUBBY_ERR_CORRUPT || !one.damaged || one.only_durable)
    return violate(name_of(number) + " is found without its bytes: " + said(status));
  one.known = false;
}

// ---- steps -----------------------------------------------------------------------------------

std::string stored_run::content(uint32_t number) const {
  cubby::base::prng bytes(cubby::base::mix64(options_.seed << 20 ^ number));
  std::string made(blocks_.at(number).bytes, '\0');
  for (char &one : made) one = static_cast<char>(bytes.next() >> 56);
  return made;
}

size_t stored_run::known_count() const {
  return static_cast<size_t>(std::count_if(blocks_.begin(), blocks_.end(), [](const auto &one) {
    return one.second.known || one.second.pending;
  }));
}

/// One that is, or is not, known, and not on its way; 0 = none.
uint32_t stored_run::pick(bool known) {
  std::vector<uint32_t> some;
  for (const auto &[number, one] : blocks_)
    if (one.known == known && !one.pending) some.push_back(number);
  return some.empty() ? 0 : some[random_.below(some.size())];
}

/// The block before it of the same tenant; or another of its blocks, so that a chain forks.
uint32_t stored_run::pick_parent(uint32_t number) {
  const uint32_t other = chance(30) ? pick(true) : 0;
  if (other != 0 && other % tenants == number % tenants) return other;
  return number > tenants ? number - tenants : 0;
}

bool stored_run::is_leased(uint32_t number) const {
  return std::any_of(leases_.begin(), leases_.end(), [&](const lease &one) {
    return one.number == number && now_ns_ < one.until_ns;
  });
}

bool stored_run::poll() {
  const cubby_status status = cubby_poll(rt_, now_ns_, &next_ns_);
  if (status != CUBBY_OK) violate("poll says " + said(status));
  return status == CUBBY_OK;
}

void stored_run::do_time() {
  if (chance(50) || next_ns_ == ~uint64_t{0}) {
    now_ns_ += random_.below(400'000);
  } else {
    now_ns_ = std::max(now_ns_, next_ns_);
  }
  poll();
}

void stored_run::do_put() {
  if (puts_.size() >= puts_max) return do_time();
  if (known_count() >= known_max) return do_drop();
  uint32_t number = chance(15) ? pick(chance(50)) : 0;
  if (number == 0) {
    number = blocks_.empty() ? 1 : blocks_.rbegin()->first + 1;
    blocks_[number].parent = chance(30) ? 0 : pick_parent(number);
    blocks_[number].bytes = 1 + random_.below(block_bytes);
  }
  constexpr uint8_t keeps[] = {CUBBY_KEEP_SESSION, CUBBY_KEEP_CACHE,   CUBBY_KEEP_RESTART,
                               CUBBY_KEEP_RESTART, CUBBY_KEEP_DURABLE, CUBBY_KEEP_DURABLE,
                               CUBBY_KEEP_DURABLE};
  ask(number, keeps[random_.below(std::size(keeps))]);
}

void stored_run::ask(uint32_t number, uint8_t keep) {
  block &one = blocks_[number];
  const std::string name = name_of(number), above = name_of(one.parent), bytes = content(number);
  const cubby_key parent = key_of(above);
  const cubby_span span{0, 0, reinterpret_cast<uintptr_t>(bytes.data()), bytes.size()};
  cubby_item item{};
  item.space = space_of(number);
  item.key = key_of(name);
  item.parent = one.parent == 0 ? nullptr : &parent;
  item.spans = &span;
  item.span_count = 1;
  cubby_how how{};
  how.struct_size = sizeof how;
  how.keep = keep;
  how.flags = CUBBY_NO_WAIT;
  put made{number, keep, 0};
  const cubby_status status = cubby_put(rt_, &item, 1, &how, &made.ticket);
  log_.add(step_, "put key=%" PRIu64 " keep=%" PRIu64, number, keep, 0, status);
  if (keep >= CUBBY_KEEP_RESTART) {
    one.stored_ever = true;
    one.only_durable = one.only_durable && keep == CUBBY_KEEP_DURABLE;
  }
  if (status != CUBBY_PENDING) return ended(made, status);
  one.pending = true;
  puts_.push_back(made);
}

void stored_run::ended(const put &of, int status) {
  block &one = blocks_[of.number];
  one.pending = false;
  if (status == CUBBY_OK) {
    // Of one that lives as long anyway nothing changes.
    if (!one.known || (of.keep >= CUBBY_KEEP_RESTART && of.keep > one.keep)) one.keep = of.keep;
    one.known = true;
    if (of.keep >= CUBBY_KEEP_RESTART) one.damaged = false;
    return;
  }
  const bool may_fail = !calm_ && (status == CUBBY_ERR_IO || status == CUBBY_ERR_DEVICE);
  if (status != CUBBY_ERR_BUSY && status != CUBBY_ERR_NO_SPACE && !may_fail)
    violate("a put of " + name_of(of.number) + " says " + said(static_cast<cubby_status>(status)));
}

void stored_run::take_ended() {
  for (auto one = puts_.begin(); one != puts_.end() && violations_.empty();) {
    const cubby_status status = cubby_wait(rt_, one->ticket, 0);
    if (status == CUBBY_ERR_TIMEOUT) {
      ++one;
      continue;
    }
    log_.add(step_, "stored key=%" PRIu64 " keep=%" PRIu64, one->number, one->keep, 0, status);
    ended(*one, status);
    one = puts_.erase(one);
  }
}

cubby_status stored_run::get(uint32_t number, std::string &into) {
  into.assign(blocks_.at(number).bytes, '\x5A');
  const std::string name = name_of(number);
  const cubby_span span{0, 0, reinterpret_cast<uintptr_t>(into.data()), into.size()};
  cubby_item item{};
  item.space = space_of(number);
  item.key = key_of(name);
  item.spans = &span;
  item.span_count = 1;
  cubby_ticket ticket = 0;
  cubby_status status = cubby_get(rt_, &item, 1, nullptr, &ticket);
  for (uint64_t i = 0; i < polls_max && violations_.empty(); ++i) {
    if (status != CUBBY_PENDING && status != CUBBY_ERR_TIMEOUT) return status;
    if (i != 0) now_ns_ = next_ns_ == ~uint64_t{0} ? now_ns_ + 50'000 : std::max(now_ns_, next_ns_);
    if (!poll()) break;
    status = cubby_wait(rt_, ticket, 0);
  }
  violate("a get of " + name + " does not end");
  return CUBBY_ERR_TIMEOUT;
}

void stored_run::do_get() {
  const uint32_t number = pick(true);
  if (number == 0) return do_time();
  const block &one = blocks_[number];
  std::string bytes;
  const cubby_status status = get(number, bytes);
  log_.add(step_, "get key=%" PRIu64, number, 0, 0, status);
  if (status == CUBBY_OK) {
    if (bytes != content(number)) violate("a get of " + name_of(number) + " brings other bytes");
    return;
  }
  const bool may_be_gone =
      one.keep < CUBBY_KEEP_RESTART && status == CUBBY_MISS && !is_leased(number);
  const bool may_fail =
      !calm_ && (status == CUBBY_ERR_IO || status == CUBBY_ERR_DEVICE || status == CUBBY_MISS);
  if (!may_be_gone && !may_fail) violate("a get of " + name_of(number) + " says " + said(status));
}

void stored_run::do_drop() {
  const uint32_t number = pick(true);
  if (number == 0) return do_time();
  const std::string name = name_of(number);
  cubby_item item{};
  item.space = space_of(number);
  item.key = key_of(name);
  const cubby_status status = cubby_drop(rt_, &item, 1, 0);
  log_.add(step_, "drop key=%" PRIu64, number, 0, 0, status);
  if (status == CUBBY_ERR_BUSY) return;
  if (status != CUBBY_OK) return violate("a drop says " + said(status));
  if (is_leased(number)) return violate("a drop takes " + name + ", which a lease holds");
  blocks_[number].known = false;
  blocks_[number].keep = CUBBY_KEEP_CACHE;
}

void stored_run::do_lease() {
  const uint32_t number = pick(true);
  if (leases_.size() >= leases_max || number == 0 || (chance(40) && !leases_.empty()))
    return leases_.empty() ? do_time() : end_lease();
  const std::string name = name_of(number);
  const cubby_key key = key_of(name);
  const auto ttl_ms = static_cast<uint32_t>(chance(50) ? 0 : 1 + random_.below(4));
  lease made{number, 0, ~uint64_t{0}};
  if (ttl_ms != 0) made.until_ns = now_ns_ + ttl_ms * uint64_t{1'000'000};
  const cubby_status status = cubby_lease(rt_, space_of(number), &key, 1, ttl_ms, &made.handle);
  log_.add(step_, "lease key=%" PRIu64 " ttl=%" PRIu64, number, ttl_ms, 0, status);
  if (status == CUBBY_OK) return leases_.push_back(made);
  const bool may_be_gone = blocks_[number].keep < CUBBY_KEEP_RESTART || !calm_;
  if (status != CUBBY_MISS || !may_be_gone) violate("a lease of " + name + " says " + said(status));
}

void stored_run::end_lease() {
  const size_t index = random_.below(leases_.size());
  const lease one = leases_[index];
  leases_.erase(leases_.begin() + static_cast<ptrdiff_t>(index));
  const cubby_status status = cubby_lease_end(rt_, one.handle, 0, 0);
  log_.add(step_, "lease ends key=%" PRIu64, one.number, 0, 0, status);
  const bool over = one.until_ns <= now_ns_ && status == CUBBY_ERR_STALE;
  if (status != CUBBY_OK && !over) violate("the end of a lease says " + said(status));
}

/// A tenant goes and comes again: what outlives the process outlives that, too.
void stored_run::do_space() {
  const auto tenant = static_cast<uint32_t>(random_.below(tenants));
  const auto of_tenant = [&](const auto &one) { return one.number % tenants == tenant; };
  if (!chance(15) || std::any_of(puts_.begin(), puts_.end(), of_tenant)) return do_time();
  while (!leases_.empty()) end_lease();
  const cubby_status status = cubby_space_remove(rt_, spaces_[tenant]);
  log_.add(step_, "tenant goes number=%" PRIu64, tenant, 0, 0, status);
  if (status != CUBBY_OK) return violate("the removal of a space says " + said(status));
  if (!add_space(tenant)) return;
  for (auto &[number, one] : blocks_) {
    if (number % tenants != tenant || one.keep >= CUBBY_KEEP_RESTART) continue;
    one.known = false;
    one.keep = CUBBY_KEEP_CACHE;
  }
}

void stored_run::take_step() {
  static constexpr weighted<stored_run> weights[] = {
      {40, &stored_run::do_put},   {20, &stored_run::do_get},  {12, &stored_run::do_drop},
      {10, &stored_run::do_lease}, {4, &stored_run::do_space}, {40, &stored_run::do_time}};
  do_one(*this, random_, weights);
  take_ended();
  if (violations_.empty() && power_.buffer_changed()) violate("a buffer changed while written");
  if (power_.flush_failed()) next_end_ = std::min(next_end_, step_ + 4);
  if (violations_.empty() && step_ >= next_end_) end_life();
}

outcome stored_run::run() {
  if (folder_.empty()) violate("no folder could be made for the store");
  if (violations_.empty() && open()) {
    power_.begin();
    world_.writes = &power_;
    for (step_ = 1; step_ <= steps_ && violations_.empty(); ++step_) take_step();
    if (violations_.empty()) end_life();
  }
  return {options_.seed, options_.steps, log_.hash(), violations_, world_.counts(), moves_};
}

}  // namespace sim
