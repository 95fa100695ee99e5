// First in, first out, as a policy of one's own: a shared library that links nothing of cubby.
//   g++ -std=c++20 -O2 -shared -fPIC -Iinclude -o libfifo_policy.so examples/policy/fifo_policy.cpp
//   cubby conformance ./libfifo_policy.so
//   cubby replay --simulate --trace T --policy ./libfifo_policy.so,lru
#include <cubby/policy.hpp>
#include <vector>

class fifo {
 public:
  explicit fifo(const cubby_policy_config &config) { grow(config); }

  void used(cubby_object) {}  // FIFO does not care
  void inserted(cubby_object object, uint64_t) {
    const uint32_t last = places_[0].before;
    places_[object + 1] = {last, 0};
    places_[last].after = places_[0].before = object + 1;
  }
  void removed(cubby_object object) {
    const place was = places_[object + 1];
    places_[was.before].after = was.after;
    places_[was.after].before = was.before;
    if (at_ == object + 1) at_ = was.after;  // it goes within a round, before it was named
  }
  void begin_victims(const cubby_policy_need &) { at_ = places_[0].after; }
  cubby_object next_victim() {
    if (at_ == 0) return CUBBY_NO_OBJECT;
    const cubby_object object = at_ - 1;
    at_ = places_[at_].after;  // an object passed over keeps its place
    return object;
  }
  void grow(const cubby_policy_config &config) { places_.resize(config.object_count + size_t{1}); }
  uint64_t state_bytes() const { return sizeof *this + places_.size() * sizeof(place); }

 private:
  struct place {
    uint32_t before = 0, after = 0;
  };

  // A ring in order of arrival: object n stands at n + 1, and 0 is where its ends meet.
  std::vector<place> places_;
  uint32_t at_ = 0;  // the place named next
};

extern "C" __attribute__((visibility("default"))) const cubby_policy_ops *cubby_policy_entry() {
  static const cubby_policy_ops ops =
      cubby::policy_ops<fifo>("fifo", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return &ops;
}
