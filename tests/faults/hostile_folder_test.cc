// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Folders of checkpoints that are not as a saver leaves them: rows 11 and 25
// of the table of faults. A run restores the newest intact checkpoint or fails
// clearly; it never starts anew in silence (R4), follows a moved folder (R5),
// and touches nothing outside (S3, S4).

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "process_state.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/checkpoint_tools.h"
#include "tftrain/checkpoint/internal/index_table_for_test.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/graph/meta_graph.h"
#include "tftrain/setup/session_manager.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

namespace fs = std::filesystem;
namespace table = internal::table_for_test;
using ::testing::AnyOf;

// The files of a folder and what is in them, links as such.
std::map<std::string, std::string> Tree(const std::string& folder) {
  std::map<std::string, std::string> tree;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string path = entry.path();
    tree[path] = entry.is_regular_file() ? *ReadFile(path, 1 << 20) : "";
  }
  return tree;
}

void Put(const std::string& path, const std::string& text) {
  ASSERT_THAT(WriteFileAtomically(path, text, {/*durable=*/false}), IsOk());
}

// A state file that names `newest` and, oldest first, `all`.
std::string State(const std::string& newest,
                  const std::vector<std::string>& all) {
  CheckpointState state;
  state.model_checkpoint_path = newest;
  state.all_model_checkpoint_paths = all;
  return FormatCheckpointState(state);
}

// A run with the checkpoints 0, 10 and 20 in "run", and beside it "victim", of
// which nothing may change, with files that look like a checkpoint.
class HostileFolderTest : public ::testing::Test {
 protected:
  HostileFolderTest() {
    static const TempDir* const made = [] {
      auto* const dir = new TempDir;
      Program program;
      for (const int step : {0, 10, 20}) {
        CHECK(program.SetAndSave(step, *dir / "model").ok());
      }
      return dir;
    }();
    fs::copy(made->path(), run_);
    fs::create_directory(victim_);
    for (const std::string& name : made->List()) {
      fs::copy(*made / name,
               JoinPath(victim_, absl::StrReplaceAll(name, {{"model", "m"}})));
    }
    before_ = Tree(victim_);
  }

  std::string InRun(std::string_view name) const {
    return JoinPath(run_, name);
  }

  void Reset() {
    fs::remove_all(run_);
    fs::create_directory(run_);
  }

  // What a new run restores: the step, "nothing", or the code of an error.
  // Then it saves the step 30 and keeps that one only; the code if that fails.
  std::string Outcome() { return OutcomeIn(run_); }
  std::string OutcomeIn(const std::string& folder) {
    static Program* const program = [] {
      Saver::Options options;
      options.max_to_keep = 1;
      return new Program(options);
    }();
    const auto saver =
        Saver::FromSaverDef(*program->graph(), program->saver().saver_def());
    const auto manager = SessionManager::Create(program->graph(), {});
    SessionManager::RecoverOptions options;
    options.saver = *saver;
    options.checkpoint_dir = folder;
    const auto recovered = (*manager)->RecoverSession(options);
    if (!recovered.ok()) {
      EXPECT_FALSE(absl::IsOutOfRange(recovered.status()));
      return absl::StatusCodeToString(recovered.status().code());
    }
    if (!recovered->initialized) return "nothing";
    const absl::StatusOr<int64_t> step = recovered->session->GlobalStep();
    EXPECT_THAT(step, IsOk());
    Saver::SaveOptions save;
    save.global_step = 30;
    const absl::Status saved =
        (*saver)
            ->Save(*recovered->session, JoinPath(folder, "model"), save)
            .status();
    if (!saved.ok()) {
      return absl::StrCat(*step, " and ",
                          absl::StatusCodeToString(saved.code()));
    }
    return absl::StrCat(*step);
  }

  void ExpectVictimUntouched() { EXPECT_EQ(Tree(victim_), before_); }

  const TempDir dir_;
  const std::string run_ = dir_ / "run";
  const std::string victim_ = dir_ / "victim";
  std::map<std::string, std::string> before_;
  UnsyncedFileOps fast_;
};

struct Damage {
  std::string name;
  std::function<void(const std::string& run)> apply;
  std::string outcome;
};

void PrintTo(const Damage& damage, std::ostream* os) { *os << damage.name; }

// Cases of the state file's text; `%` is the run, `^` the victim.
std::vector<Damage> Texts() {
  std::vector<Damage> cases;
  const auto add = [&](const std::string& name, const std::string& text,
                       const std::string& outcome) {
    cases.push_back(
        {name,
         [text](const std::string& run) {
           const std::string victim = JoinPath(DirName(run), "victim");
           Put(JoinPath(run, "checkpoint"),
               absl::StrReplaceAll(text, {{"%", run}, {"^", victim}}));
         },
         outcome});
  };
  const std::string newest = "model_checkpoint_path: ";
  add("Empty", "", "20");
  add("Space", " \n\t\n", "20");
  add("Garbage", "no state at all", "20");
  add("Binary", std::string("\0\x01\xff\xfe\x80\0", 6), "20");
  add("Html", "<html><body>404</body></html>", "20");
  add("Json", "{\"model_checkpoint_path\": \"model-10\"}", "20");
  add("CutInTheName", "model_check", "20");
  add("CutInThePath", newest + "\"mod", "20");
  add("CutBehindTheNewest", newest + "\"model-10\"\nall_mod", "20");
  add("OnlyAll", "all_model_checkpoint_paths: \"model-10\"", "20");
  add("EmptyPath", newest + "\"\"", "20");
  add("Dot", State(".", {"."}), "20");
  add("DotDot", State("..", {".."}), "20");
  add("Slash", State("/", {"/"}), "20");
  add("Slashes", State("////", {"////"}), "20");
  add("Older", State("model-10", {"model-0", "model-10"}), "10");
  add("OlderWithDot", State("./model-10", {"./model-10"}), "10");
  add("Dangling", State("model-99", {"model-99"}), "20");
  add("DanglingOtherBase", State("other-5", {"other-5"}), "20");
  add("DanglingAbsolute", State("%/model-99", {"%/model-99"}), "20");
  add("Absolute", State("%/model-10", {"%/model-10"}), "10");
  add("Moved", State("/gone/model-10", {"/gone/model-0", "/gone/model-10"}),
      "10");
  add("Foreign", State("^/m-10", {"^/m-0", "^/m-10"}), "20");
  add("ForeignByDotDot", State("../victim/m-10", {"../victim/m-10"}), "20");
  add("ForeignInTheList", State("model-20", {"^/m-0", "../victim/m-10"}), "20");
  add("ForeignPattern", State("model-20", {"^/*", "../victim/?-[01]0"}), "20");
  add("OwnPattern", State("model-20", {"*", "model-*", "model-?0"}), "20");
  add("OutAndIn", State("../run/model-10", {"../run/model-10"}), "20");
  add("ZeroByte", newest + "\"model-10\\000\"", "20");
  add("Newline", State("model-10\n", {"model-10\n"}), "20");
  add("LongName", State(std::string(4096, 'x'), {}), "20");
  add("LongPath", State("%/" + std::string(100000, 'y') + "/z", {}), "20");
  add("Itself", State("checkpoint", {"checkpoint"}), "20");
  add("IndexFile", State("model-10.index", {"model-10.index"}), "10");
  add("Twice", newest + "\"model-10\"\n" + newest + "\"model-20\"\n", "20");
  add("UnknownField", State("model-10", {}) + "later: 1\n", "10");
  add("Comment", "# hello\n" + State("model-10", {}), "10");
  add("CarriageReturns", newest + "\"model-10\"\r\n", "10");
  add("SingleQuotes", newest + "'model-10'", "10");
  add("ByteOrderMark", "\xef\xbb\xbf" + State("model-10", {}), "20");
  return cases;
}

std::vector<Damage> Files() {
  const auto remove = [](const std::string& name) {
    return [name](const std::string& run) { fs::remove(JoinPath(run, name)); };
  };
  const auto cut = [](const std::string& name, uintmax_t size) {
    return [name, size](const std::string& run) {
      fs::resize_file(JoinPath(run, name), size);
    };
  };
  // In the place of the state file.
  const auto state = [](std::function<void(const std::string& path)> make) {
    return [make](const std::string& run) {
      fs::remove(JoinPath(run, "checkpoint"));
      make(JoinPath(run, "checkpoint"));
    };
  };
  const std::string data = "model-20.data-00000-of-00001";
  return {
      {"NoState", remove("checkpoint"), "20"},
      {"NoIndex", remove("model-20.index"), "10"},
      {"NoData", remove(data), "10"},
      {"NoMeta", remove("model-20.meta"), "20"},
      {"EmptyIndex", cut("model-20.index", 0), "10"},
      {"CutIndex", cut("model-20.index", 50), "10"},
      {"EmptyData", cut(data, 0), "10"},
      {"CutData", cut(data, 7), "10"},
      {"EmptyMeta", cut("model-20.meta", 0), "20"},
      {"OtherIndex",
       [](const std::string& run) {
         Put(JoinPath(run, "model-20.index"), "not an index");
       },
       "10"},
      {"IndexIsAFolder",
       [](const std::string& run) {
         fs::remove(JoinPath(run, "model-20.index"));
         fs::create_directory(JoinPath(run, "model-20.index"));
       },
       "10"},
      {"IndexIsAPipe",
       [](const std::string& run) {
         fs::remove(JoinPath(run, "model-20.index"));
         ASSERT_EQ(::mkfifo(JoinPath(run, "model-20.index").c_str(), 0600), 0);
       },
       "10"},
      {"DataIsAPipe",
       [data](const std::string& run) {
         fs::remove(JoinPath(run, data));
         ASSERT_EQ(::mkfifo(JoinPath(run, data).c_str(), 0600), 0);
       },
       "10"},
      {"StateIsAFolder",
       state([](const std::string& path) { fs::create_directory(path); }),
       "20 and FAILED_PRECONDITION"},
      {"StateIsAPipe", state([](const std::string& path) {
         ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
       }),
       "20"},
      {"StateIsALink", state([](const std::string& path) {
         fs::create_symlink("../victim/checkpoint", path);
       }),
       "20"},
      {"StateIsADanglingLink", state([](const std::string& path) {
         fs::create_symlink("../victim/new", path);
       }),
       "20"},
      {"StateLinksToItself", state([](const std::string& path) {
         fs::create_symlink("checkpoint", path);
       }),
       "20"},
      {"StateIsADevice", state([](const std::string& path) {
         fs::create_symlink("/dev/zero", path);
       }),
       "20"},
      {"StateOfTenMillionLines", state([](const std::string& path) {
         std::string text;
         for (int i = 0; i < 10'000'000; ++i) text += "\n";
         Put(path, text);
       }),
       "20"},
      {"StateOfManyEntries", state([](const std::string& path) {
         Put(path, State("model-10", std::vector<std::string>(20000, "m")));
       }),
       "20"},
      {"StateNamesACraftedTable",
       [](const std::string& run) {
         // It ends TensorFlow's reader, and the program.
         const std::string row = table::Varint(0) + table::Varint(0xffffffff) +
                                 table::Varint(0) + std::string(20, 'k');
         Put(JoinPath(run, "notes"), table::Table({{"z", table::Block(row)}}));
         Put(JoinPath(run, "checkpoint"), State("notes", {"notes"}));
       },
       "20"},
      {"AllIndexesGone",
       [](const std::string& run) {
         for (const std::string step : {"0", "10", "20"}) {
           fs::remove(JoinPath(run, "model-" + step + ".index"));
         }
       },
       "FAILED_PRECONDITION"},
      {"AllIndexesCut",
       [](const std::string& run) {
         for (const std::string step : {"0", "10", "20"}) {
           fs::resize_file(JoinPath(run, "model-" + step + ".index"), 9);
         }
       },
       "DATA_LOSS"},
      {"AllDataGone",
       [](const std::string& run) {
         for (const std::string step : {"0", "10", "20"}) {
           fs::remove(JoinPath(run, "model-" + step + ".data-00000-of-00001"));
         }
       },
       "DATA_LOSS"},
  };
}

class NamedDamageTest : public HostileFolderTest,
                        public ::testing::WithParamInterface<Damage> {};

// Row 11; R4, S1 to S4
TEST_P(NamedDamageTest, TheNewestIntactCheckpointIsRestoredOrItFails) {
  GetParam().apply(run_);
  EXPECT_EQ(Outcome(), GetParam().outcome);
  ExpectVictimUntouched();
}

std::string NameOf(const ::testing::TestParamInfo<Damage>& test) {
  return test.param.name;
}
INSTANTIATE_TEST_SUITE_P(Texts, NamedDamageTest, ::testing::ValuesIn(Texts()),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Files, NamedDamageTest, ::testing::ValuesIn(Files()),
                         NameOf);

// Row 11, R5
TEST_F(HostileFolderTest, AMovedFolderIsRestored) {
  Put(InRun("checkpoint"), State(InRun("model-10"), {InRun("model-10")}));
  fs::rename(run_, dir_ / "moved");
  EXPECT_EQ(OutcomeIn(dir_ / "moved"), "10");
}

// Row 11, S3
TEST_F(HostileFolderTest, ACopyLeavesTheOldFolderAlone) {
  Put(InRun("checkpoint"),
      State(InRun("model-20"),
            {InRun("model-0"), InRun("model-10"), InRun("model-20")}));
  fs::copy(run_, dir_ / "copy");
  const auto before = Tree(run_);
  EXPECT_EQ(OutcomeIn(dir_ / "copy"), "20");
  EXPECT_EQ(Tree(run_), before);
}

TEST_F(HostileFolderTest, AFolderWithoutCheckpointsIsANewStart) {
  Reset();
  EXPECT_EQ(Outcome(), "nothing");
  Put(InRun("model-5.data-00000-of-00001"), "never committed");
  EXPECT_EQ(Outcome(), "nothing");
}

// Row 11, R4: somebody wrote it, for a checkpoint.
TEST_F(HostileFolderTest, AStateFileWithoutACheckpointIsNoNewStart) {
  for (const Damage& damage : Texts()) {
    Reset();
    damage.apply(run_);
    EXPECT_THAT(Outcome(), AnyOf("FAILED_PRECONDITION", "DATA_LOSS"))
        << damage.name;
  }
  ExpectVictimUntouched();
}

// Row 10. What a flip makes of a path may lead to another checkpoint.
TEST_F(HostileFolderTest, NoFlippedBitOrCutOfTheStateFileIsASilentNewStart) {
  const std::string good =
      State("model-20", {"model-0", "model-10", "model-20"});
  const std::set<std::string> allowed = {InRun("model-0"), InRun("model-10"),
                                         InRun("model-20")};
  const auto check = [&](const std::string& text) {
    Put(InRun("checkpoint"), text);
    const auto latest = LatestCheckpoint(run_);
    if (!latest.ok()) {
      EXPECT_FALSE(absl::IsOutOfRange(latest.status()));
      return;
    }
    ASSERT_TRUE(latest->has_value()) << absl::CEscape(text);
    EXPECT_EQ(allowed.count(**latest), 1u) << absl::CEscape(text);
  };
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string text = good;
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ 1 << bit % 8);
    check(text);
  }
  for (size_t size = 0; size < good.size(); ++size) check(good.substr(0, size));
}

// Row 10. A start does not need the graph's file; who looks at it is told.
TEST_F(HostileFolderTest, ADamagedMetaFileKeepsNobodyFromRestoring) {
  const std::string path = InRun("model-20.meta");
  const std::string good = *ReadFile(path, int64_t{1} << 20);
  for (size_t at = 0; at < good.size(); at += good.size() / 50 + 1) {
    std::string flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x80);
    for (const std::string& text : {flipped, good.substr(0, at)}) {
      Put(path, text);
      const auto report =
          VerifyCheckpoint(InRun("model-20"), /*with_meta=*/true);
      ASSERT_THAT(report, IsOk());
      for (const std::string& problem : report->problems) {
        EXPECT_THAT(problem, testing::HasSubstr("model-20.meta"));
      }
      EXPECT_FALSE(absl::IsOutOfRange(ReadMetaGraph(path).status()));
    }
  }
  EXPECT_EQ(Outcome(), "20");
}

// Row 11: edits of a good state file, by the pieces of its grammar.
TEST_F(HostileFolderTest, NoEditOfTheStateFileIsASilentNewStart) {
  const int64_t edits = FromEnvironment("TFTRAIN_FAULTS_EDITS", 2000);
  const auto seed =
      static_cast<uint32_t>(FromEnvironment("TFTRAIN_FAULTS_SEED", 1));
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE(absl::StrCat("TFTRAIN_FAULTS_SEED=", seed));
  const std::vector<std::string> pieces = {"model_checkpoint_path",
                                           "all_model_checkpoint_paths",
                                           ":",
                                           "\"",
                                           "'",
                                           "\n",
                                           " ",
                                           "[",
                                           "]",
                                           "{",
                                           "}",
                                           ",",
                                           ";",
                                           "#",
                                           "\\",
                                           "\\x",
                                           "\\377",
                                           "model-10",
                                           "model-",
                                           "/",
                                           "..",
                                           "../victim/m-10",
                                           victim_ + "/m-20",
                                           "*",
                                           std::string(1, '\0'),
                                           "\xff",
                                           "<",
                                           ">",
                                           "1.5",
                                           "-1e999"};
  const std::string good =
      State("model-20", {"model-0", "model-10", "model-20"});
  const std::set<std::string> allowed = {InRun("model-0"), InRun("model-10"),
                                         InRun("model-20")};
  std::mt19937 random(seed);
  const auto below = [&](size_t count) { return random() % count; };
  for (int64_t i = 0; i < edits; ++i) {
    std::string text = good;
    for (size_t n = 1 + below(3); n > 0; --n) {
      const size_t at = below(text.size() + 1);
      const size_t size = below(2) == 0 ? 0 : below(text.size() - at + 1);
      text.replace(at, size, below(4) == 0 ? "" : pieces[below(pieces.size())]);
    }
    Put(InRun("checkpoint"), text);
    const auto latest = LatestCheckpoint(run_);
    ASSERT_THAT(latest, IsOk()) << absl::CEscape(text);
    ASSERT_TRUE(latest->has_value()) << absl::CEscape(text);
    const std::string normal = fs::path(**latest).lexically_normal();
    ASSERT_EQ(allowed.count(normal), 1u) << **latest << absl::CEscape(text);
  }
  ExpectVictimUntouched();
}

// Row 25: a run that takes over what a state file lists, and keeps one.
TEST_F(HostileFolderTest, NoPathInAStateFileLeadsOutside) {
  const int64_t paths = FromEnvironment("TFTRAIN_FAULTS_PATHS", 500);
  const auto seed =
      static_cast<uint32_t>(FromEnvironment("TFTRAIN_FAULTS_SEED", 1));
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE(absl::StrCat("TFTRAIN_FAULTS_SEED=", seed));
  const std::vector<std::string> pieces = {"..",
                                           "../",
                                           "/",
                                           "//",
                                           ".",
                                           "./",
                                           "*",
                                           "?",
                                           "[m]",
                                           "m-10",
                                           "m-*",
                                           "victim",
                                           "victim/m-0",
                                           victim_,
                                           victim_ + "/m-10",
                                           dir_.path(),
                                           "run",
                                           "model-10",
                                           std::string(1, '\0'),
                                           std::string(4096, 'a'),
                                           "\n",
                                           "~",
                                           "$HOME",
                                           "\xff",
                                           "file://",
                                           "%2e%2e/",
                                           "link/m-0",
                                           "link"};
  fs::create_directory_symlink(victim_, InRun("link"));
  Saver::Options options;
  options.max_to_keep = 1;
  Program program(options);
  std::mt19937 random(seed);
  for (int64_t i = 0; i < paths; ++i) {
    std::vector<std::string> all(3);
    for (std::string& path : all) {
      for (size_t n = 1 + random() % 4; n > 0; --n) {
        path += pieces[random() % pieces.size()];
      }
    }
    Put(InRun("checkpoint"), State(all.back(), all));
    const auto state = GetCheckpointState(run_);
    ASSERT_THAT(state, IsOk());
    if (state->has_value()) {
      program.saver().RecoverLastCheckpoints(
          (*state)->all_model_checkpoint_paths);
    }
    ASSERT_THAT(program.SetAndSave(i, InRun("model")), IsOk());
  }
  ExpectVictimUntouched();
}

// Row 25: links come and go at every name that a save uses.
TEST_F(HostileFolderTest, NoLinkThatIsSwappedInLeadsOutside) {
  const int64_t seconds = FromEnvironment("TFTRAIN_FAULTS_RACE_SECS", 1);
  std::atomic<bool> done = false;
  std::atomic<int64_t> links = 0;
  std::thread swapper([&] {
    const std::vector<std::string> endings = {".index", ".data-00000-of-00001",
                                              ".data-00001-of-00002", ".meta",
                                              ".tftrain.json"};
    const auto link = [&](const std::string& target, const std::string& name) {
      const std::string path = InRun(name);
      ::unlink(path.c_str());
      if (::symlink(target.c_str(), path.c_str()) == 0) ++links;
    };
    while (!done) {
      for (const std::string& ending : endings) {
        link("../victim/m-10" + ending, "model-1" + ending);
        link("../victim/new" + ending, "model-2" + ending);
      }
      link("../victim/checkpoint", "checkpoint");
      link(victim_, absl::StrCat(BaseName(TemporaryPrefix("")), "_temp"));
    }
  });
  Saver::Options options;
  options.max_to_keep = 1;
  Program program(options);
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  int64_t saves = 0;
  while (absl::Now() < end) {
    const auto saver =
        Saver::FromSaverDef(*program.graph(), program.saver().saver_def());
    for (const int64_t step : {1, 2}) {
      Saver::SaveOptions save;
      save.global_step = step;
      save.metrics = {{"loss", 1}};
      program.Set(step);
      (*saver)
          ->Save(program.session(), InRun("model"), save)
          .status()
          .IgnoreError();
      ++saves;
      Saver::SetMetrics(InRun("model-1"), {{"loss", 2}}).IgnoreError();
    }
  }
  done = true;
  swapper.join();
  ExpectVictimUntouched();
  EXPECT_GT(links, 0);
  RecordProperty("saves", std::to_string(saves));
}

}  // namespace
}  // namespace tftrain
