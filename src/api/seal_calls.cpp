// Sealing a file.
#include "api/completion_queue.hpp"
#include "api/guard.hpp"
#include "api/requests.hpp"
#include "store/model_file.hpp"
#include "store/seal.hpp"

using namespace cubby;
using namespace cubby::api;

cubby_status cubby_seal(cubby_handle *rt, const char *path, const cubby_adopt_desc *desc,
                        const cubby_how *how, cubby_ticket *ticket) {
  CUBBY_ENTER(rt);
  if (path == nullptr) CUBBY_REFUSE("cubby_seal: path is NULL");
  if (ticket != nullptr) *ticket = 0;
  return guarded([&]() -> cubby_status {
    auto asked_how = read_how(self, how);
    if (!asked_how) return keep_error(asked_how.failure());
    auto read = read_adopt(desc);
    if (!read) return keep_error(read.failure());
    const cubby_adopt_desc asked = *read;
    auto model = store::open_model(path, asked.tensors == nullptr ? "" : asked.tensors);
    if (!model) return keep_error(model.failure());
    const std::string to =
        store::seal_path_of(*model, asked.seal_path == nullptr ? "" : asked.seal_path);
    // Not after hours of reading.
    if (auto place = store::try_place(to); !place) return keep_error(place.failure());
    std::vector<std::unique_ptr<residency::locker_bank>> banks;
    for (const store::model_bank &one : model->banks) {
      auto made = residency::locker_bank::adopt(one, model->files, one.name);
      if (!made) return keep_error(made.failure());
      banks.push_back(std::move(*made));
    }
    auto earlier = store::read_seal(to);
    const bool goes_on = earlier.ok() && store::is_untouched(*earlier, *model);
    if (asked_how->cq != nullptr && !asked_how->cq->reserve()) {
      return keep_error(fail(CUBBY_ERR_BUSY, "the completion queue has no place left"));
    }
    const uint32_t index =
        self.engine().requests.take(ticket == nullptr && asked_how->cq == nullptr);
    if (index == engine::no_index) {
      if (asked_how->cq != nullptr) asked_how->cq->unreserve();
      return no_ticket();
    }
    const auto give_up = [&](const error &why) {
      if (asked_how->cq != nullptr) asked_how->cq->unreserve();
      self.engine().requests.give(index);
      return keep_error(why);
    };
    engine::request &r = self.engine().requests[index];
    uint32_t file_tier = engine::no_tier;
    {
      const auto lock = self.hold_pump();
      auto tier = self.file_tier_for(path);
      if (!tier) return give_up(tier.failure());
      file_tier = *tier;
      for (const auto &one : banks) {
        one->file_tier = file_tier;
        if (auto opened = self.engine().files.open(one->files, file_tier); !opened) {
          for (const auto &other : banks) self.engine().files.close(other->files, file_tier);
          return give_up(opened.failure());
        }
      }
    }
    auto job = std::make_unique<engine::seal_job>(self.engine().state, self.engine().files,
                                                  self.engine().ios, std::move(*model),
                                                  std::move(banks), to);
    if (goes_on) job->resume(*earlier);
    prepare_request(self, r, engine::seal_verb{std::move(job)}, file_tier, *asked_how);
    return submit_request(self, index, ticket);
  });
}
