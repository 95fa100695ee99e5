// The engine of a runtime: its units, made in the order in which they use each other.
#pragma once

#include "engine/blocks.hpp"
#include "engine/controller.hpp"
#include "engine/set_up.hpp"
#include "engine/slot_writer.hpp"
#include "engine/statistics.hpp"

namespace cubby::engine {

/// Units under "any thread" say in their own headers which of their calls these are; all others
/// are for whoever holds the runtime's pump.
struct parts {
  parts(const engine_config &config, const cubby_backend_services &services, completion_sink &sink)
      : state(config, services),
        requests(config.tickets_max, config.salt),
        table(state),
        copies(state, table),
        stored(state, copies),
        puts(state, copies, stored),
        files(state),
        from(state, table, copies, files),
        feed(state, copies),
        deliveries(state, work),
        regions(state, table, copies, ios, work),
        open(state, requests, deliveries, regions, sink),
        direct(state, table, stored, ios, work),
        life(state, table, copies, stored, from, requests, open),
        io(state, table, life, files, stored, ios, work),
        grants(state, table, copies),
        slots(state, requests, ios),
        pump({state, requests, open, table, direct, life, grants, copies, stored, puts, regions},
             feed, io, ios, work, slots),
        setup(state, copies, stored, feed, files, requests, open, table, ios),
        numbers(state, table, requests, open, feed, io, stored) {}
  parts(const parts &) = delete;
  parts &operator=(const parts &) = delete;
  ~parts();

  engine_state state;
  request_table requests;
  transfer::io_table ios;
  transfer::work_queue work;
  fill_table table;
  residents copies;
  stored_blocks stored;
  blocks puts;
  source_files files;
  sources from;
  policy_feed feed;
  block_deliveries deliveries;
  region_copies regions;
  open_requests open;
  direct_reads direct;
  fills life;
  fill_io io;
  frame_grants grants;
  slot_writer slots;
  controller pump;
  set_up setup;
  statistics numbers;
};

}  // namespace cubby::engine
