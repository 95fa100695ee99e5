// What the command prints arrives whole and is JSON, whatever bytes it has to name, or it says so.
#include "cli/folder.hpp"
#include "cli/limit_places.hpp"
#include "cli/printable.hpp"
#include "cli/process.hpp"

namespace output_test {

namespace {
using nlohmann::json;
using process::command_json;
using process::folder;
using process::shell;

const std::string small_csv = "token,layer,experts\n0,0,1 2\n1,0,2 3\n2,0,0 3\n";

}  // namespace

TEST_CASE("--json prints an object of JSON for words and files that are no UTF-8") {
  const folder here;
  const std::string trace = here.write("t.csv", small_csv);
  std::string noise = "\xff\xfe\x80 {\"\xc3";
  for (int i = 0; i < 300; ++i) noise += static_cast<char>(i * 73 % 256);
  const std::vector<std::string> all = {
      "replay --simulate --trace " + here.write("noise.bin", noise),
      "replay --simulate --trace " + here.write("noise.csv", noise),
      "replay --simulate --trace " + here.write("noise.jsonl", "{\"\xff\": \"\xff\xfe\"}\n"),
      "replay --simulate --trace " + here.at("no\xff.jsonl"),
      "replay --simulate --trace " + trace + " --policy '\xff'",
      "replay --simulate --trace " + trace + " --policy ./'\xff'.so",
      "replay --simulate --trace " + trace + " --capacity '\xff'",
      "replay --simulate --trace " + trace + " --write /no/'\xff'",
      "replay --timing --compute-ns 1 --trace " + trace + " --link '\xff'",
      "replay --io --geometry '\xff' --tiers '\xff' --trace " + trace,
      "inspect " + here.at("no\xff.gguf"),
      "verify " + here.at("no\xff.gguf"),
      "seal " + here.at("no\xff.gguf"),
      "demo --model " + here.at("no\xff.gguf"),
      "demo --policy '\xff'",
      "make-model --out /no/'\xff'",
      "conformance " + here.at("no\xff.so"),
  };
  for (const std::string &line : all) {
    const auto ran = shell(CUBBY_COMMAND " " + line + " --json 2>/dev/null");
    INFO(line << " said: " << ran.text);
    CHECK((ran.exit_status == 1 || ran.exit_status == 2));
    const json object = json::parse(ran.text, nullptr, false);
    REQUIRE(object.is_object());
    CHECK(object.contains("error"));
  }
  const std::string odd = here.write("odd\xff.csv", small_csv);
  CHECK(command_json("replay --simulate --policy lru --capacity 100% --trace " + odd, 0)
            .at("results")
            .size() > 0);
}

TEST_CASE("what is shown holds no control character and is UTF-8") {
  using cubby_cli::printable;
  CHECK(printable("plain, \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 \\n") ==
        "plain, \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 \\n");
  CHECK(printable("a\nb\tc\rd") == "a\\x0ab\\x09c\\x0dd");
  CHECK(printable(std::string_view("\0\x1b[2J\x7f", 6)) == "\\x00\\x1b[2J\\x7f");
  CHECK(printable("\xc2\x9b") == "\\xc2\\x9b");           // a control of C1
  CHECK(printable("\xe2\x80\xae") == "\\xe2\\x80\\xae");  // turns the line around
  // Cut, too long, a surrogate, beyond the last, and no beginning at all.
  for (const char *wrong : {"\xe2\x82", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                            "\xf4\x90\x80\x80", "\xf5", "\x80", "\xff"}) {
    const std::string shown = printable(wrong);
    CHECK(shown.size() == 4 * std::string(wrong).size());
    CHECK(shown.starts_with("\\x"));
  }
}

TEST_CASE("a memory cgroup is made where its children get the memory controller") {
  const folder here;
  const std::string root = here.path.string();
  const auto file = [&](const std::string &name, const std::string &text) {
    std::filesystem::create_directories((here.path / name).parent_path());
    here.write(name, text);
  };
  const auto found = [&] {
    std::vector<std::string> made;
    for (const auto &one : cubby_cli::limit_places(root))
      made.push_back(one.folder.substr(root.size()) + " " + one.file + " " + one.by);
    return made;
  };
  using strings = std::vector<std::string>;
  const std::string v2 = "/sys/fs/cgroup", v1 = "/sys/fs/cgroup/memory";
  CHECK(found().empty());
  file("proc/self/cgroup", "0::/a/b/c\n");
  file("sys/fs/cgroup/a/b/c/cgroup.subtree_control", "\n");
  file("sys/fs/cgroup/a/b/cgroup.subtree_control", "cpu pids\n");
  CHECK(found().empty());
  file("sys/fs/cgroup/a/cgroup.subtree_control", "cpu memory pids\n");
  file("sys/fs/cgroup/cgroup.subtree_control", "memory\n");
  CHECK(found() == strings{v2 + "/a memory.max cgroup-v2", v2 + " memory.max cgroup-v2"});
  file("proc/self/cgroup", "0::/\n");
  CHECK(found() == strings{v2 + " memory.max cgroup-v2"});
  file("proc/self/cgroup", "4:cpu,memory:/x/y\n");
  file("sys/fs/cgroup/memory/memory.limit_in_bytes", "1\n");
  const std::string root_v1 = v1 + " memory.limit_in_bytes cgroup-v1";
  CHECK(found() == strings{root_v1});
  file("sys/fs/cgroup/memory/x/y/memory.limit_in_bytes", "1\n");
  CHECK(found() == strings{v1 + "/x/y memory.limit_in_bytes cgroup-v1", root_v1});
}

TEST_CASE("A word or a policy that there is none of is named, once") {
  const auto refused = [](const std::string &line, const std::string &name) {
    const auto ran = shell(CUBBY_COMMAND " " + line + " 2>&1");
    INFO(line << " said: " << ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find(name) != std::string::npos);
    return ran.text;
  };
  refused("nosuch", "nosuch");
  refused("replay --nosuch", "--nosuch");
  refused("demo --model /no/such.gguf", "/no/such.gguf");
  const std::string names = refused("demo --policy nosuch", "there are auto, ");
  CHECK(names.find("auto") == names.rfind("auto"));
  for (const char *how : {"abi", "create"})
    CHECK(shell("CUBBY_MISBEHAVIOUR=" + std::string(how) +
                " " CUBBY_COMMAND " demo --policy " CUBBY_MISBEHAVING_POLICY " 2>/dev/null")
              .exit_status == 2);
}

TEST_CASE("Output that gets nowhere is no success") {
  const folder here;
  const std::string trace = here.write("t.csv", small_csv);
  const std::string replay =
      "replay --simulate --quiet --policy lru --capacity 100% --trace " + trace;
  for (const std::string &line :
       {replay + " --json", replay, std::string("--help"),
        "make-model --layers 1 --experts 2 --top-k 1 --hidden 64 --ffn 32"
        " --json --out " +
            here.at("m.gguf"),
        "inspect --json " + here.at("m.gguf"), "seal --json " + here.at("m.gguf"),
        "verify --json " + here.at("m.gguf")}) {
    const auto ran = shell(CUBBY_COMMAND " " + line + " 2>&1 >/dev/full");
    INFO(line << " said: " << ran.text);
    CHECK(ran.exit_status == 1);
    CHECK(ran.text.find("could not be written: No space left on device") != std::string::npos);
  }
  const auto refused =
      shell(CUBBY_COMMAND " replay --simulate --json --trace /no/such.csv 2>&1 >/dev/full");
  CHECK(refused.exit_status == 2);
}

}  // namespace output_test
