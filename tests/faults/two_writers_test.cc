// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Several processes and one folder of checkpoints: one of them writes, the
// others are refused (R15) or read (row 21 of the table of faults).

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "process_state.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/checkpoint/checkpoint_state.h"
#include "tftrain/checkpoint/saver_test_model.h"
#include "tftrain/hooks/checkpoint_saver_hook.h"
#include "tftrain/testing/hook_driver.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

// Before the lines that are answers.
constexpr std::string_view kAnswer = "answer ";

// This program once more, which does what it is told by lines: see
// DISABLED_Serve.
//
// Confined: use from the thread that created it.
class Child {
 public:
  Child() {
    int in[2], out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::execl("/proc/self/exe", "child",
              "--gtest_filter=TwoWriters.DISABLED_Serve",
              "--gtest_also_run_disabled_tests", nullptr);
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    commands_ = ::fdopen(in[1], "w");
    answers_ = ::fdopen(out[0], "r");
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    Kill();
    std::fclose(commands_);
    std::fclose(answers_);
  }

  void Tell(const std::string& command) {
    std::fprintf(commands_, "%s\n", command.c_str());
    std::fflush(commands_);
  }
  std::string Answer() {
    std::string line;
    for (int c = 0; (c = std::fgetc(answers_)) != EOF;) {
      if (c != '\n') {
        line += static_cast<char>(c);
        continue;
      }
      const size_t start = line.find(kAnswer);
      if (start != std::string::npos)
        return line.substr(start + kAnswer.size());
      line.clear();
    }
    return "it died";
  }
  std::string Ask(const std::string& command) {
    Tell(command);
    return Answer();
  }
  void Kill() {
    if (pid_ <= 0) return;
    EXPECT_EQ(::kill(pid_, SIGKILL), 0);
    EXPECT_EQ(::waitpid(pid_, nullptr, 0), pid_);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  FILE* commands_ = nullptr;
  FILE* answers_ = nullptr;
};

// A chief that has trained one step and goes on.
absl::StatusOr<std::unique_ptr<HookDriver>> StartChief(
    const std::string& folder) {
  auto chief = std::make_unique<HookDriver>(
      std::vector<HookPtr>{SaveCheckpoints(folder, Every::Steps(1))}, folder);
  absl::Status status = chief->Open();
  if (status.ok()) status = chief->Train(1).status();
  if (!status.ok()) return status;
  return chief;
}

// Restores the newest checkpoint of `folder` so many times, by the folder and
// by its name in turn; "COUNT restored" or what was wrong. A checkpoint that
// is deleted between the search and the restore is looked for again.
std::string Read(const std::string& folder, int times) {
  Program reader;
  int restored = 0;
  while (restored < times) {
    const auto latest = LatestCheckpoint(folder);
    if (!latest.ok()) return std::string(latest.status().ToString());
    if (!latest->has_value()) return "no checkpoint";
    reader.Restart();
    const absl::Status status = reader.saver().Restore(
        reader.session(), restored % 2 == 0 ? folder : **latest);
    if (!status.ok()) {
      if (absl::IsNotFound(status)) continue;
      if (!CheckpointExists(**latest) && restored % 2 == 1) continue;
      return status.ToString();
    }
    int64_t step = 0;
    const std::string state = reader.State();
    if (!absl::SimpleAtoi(state, &step)) return state;
    ++restored;
  }
  return absl::StrCat(restored, " restored");
}

// Not a test: what a Child does.
TEST(TwoWriters, DISABLED_Serve) {
  std::unique_ptr<HookDriver> chief;
  for (std::string line; std::getline(std::cin, line);) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    std::string answer;
    if (words[0] == "train") {
      auto started = StartChief(words[1]);
      answer = started.ok() ? "training" : started.status().ToString();
      if (started.ok()) chief = *std::move(started);
    } else if (words[0] == "end") {
      answer = chief == nullptr ? "idle" : chief->Close().ToString();
      chief.reset();
    } else if (words[0] == "read") {
      answer = Read(words[1], std::atoi(words[2].c_str()));
    }
    std::cout << "\n" << kAnswer << answer << std::endl;
  }
}

// Row 21, R15
TEST(TwoWriters, OfTwoChiefsAtOnceOneIsRefused) {
  const int64_t trials = FromEnvironment("TFTRAIN_FAULTS_CHIEFS", 20);
  Child first, second;
  for (int64_t i = 0; i < trials; ++i) {
    const TempDir dir;
    first.Tell("train " + dir.path());
    second.Tell("train " + dir.path());
    const std::vector<std::string> answers = {first.Answer(), second.Answer()};
    ASSERT_THAT(answers,
                UnorderedElementsAre("training",
                                     AllOf(StartsWith("FAILED_PRECONDITION"),
                                           HasSubstr(dir.path()))));
    EXPECT_THAT((std::vector<std::string>{first.Ask("end"), second.Ask("end")}),
                UnorderedElementsAre("OK", "idle"));
    // The loser goes on where the winner has ended.
    Child& loser = answers[0] == "training" ? second : first;
    ASSERT_EQ(loser.Ask("train " + dir.path()), "training");
    ASSERT_EQ(loser.Ask("end"), "OK");
    EXPECT_THAT(LatestCheckpoint(dir.path()),
                IsOkAndHolds(testing::Optional(dir / "model.ckpt-2")));
  }
}

TEST(TwoWriters, AChiefTakesOverFromOneThatWasKilled) {
  const TempDir dir;
  Child killed;
  ASSERT_EQ(killed.Ask("train " + dir.path()), "training");
  EXPECT_THAT(
      StartChief(dir.path()),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr("another process"), HasSubstr(dir.path()))));
  Program saver;
  EXPECT_THAT(saver.SetAndSave(7, dir / "other"),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  killed.Kill();
  const auto chief = StartChief(dir.path());
  ASSERT_THAT(chief, IsOk());
  EXPECT_EQ((*chief)->session().summary().restore.restored,
            dir / "model.ckpt-1");
  EXPECT_THAT((*chief)->Close(), IsOk());
}

TEST(TwoWriters, AChildThatIsForkedDoesNotHoldTheFolder) {
  const TempDir dir;
  auto chief = StartChief(dir.path());
  ASSERT_THAT(chief, IsOk());
  const pid_t child = ::fork();
  if (child == 0) {
    while (true) ::pause();
  }
  EXPECT_THAT((*chief)->Close(), IsOk());
  Child other;
  EXPECT_EQ(other.Ask("train " + dir.path()), "training");
  EXPECT_EQ(::kill(child, SIGKILL), 0);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST(TwoWriters, TwoHooksOnOneFolderNeedTheSameSaver) {
  const TempDir dir;
  const auto with_hooks = [&](bool same) {
    const GraphPtr graph = CountingGraph();
    std::vector<HookPtr> hooks;
    for (const std::string name : {"a", "b"}) {
      CheckpointSaverHook::Options options;
      options.checkpoint_dir = dir.path();
      options.checkpoint_basename = name;
      options.save_steps = 1;
      if (!same) options.saver = Saver::Create(*graph).value();
      hooks.push_back(std::make_shared<CheckpointSaverHook>(options));
    }
    return std::make_unique<HookDriver>(hooks, "", graph);
  };
  EXPECT_THAT(with_hooks(false)->Open(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("the same saver")));
  const auto shared = with_hooks(true);
  ASSERT_THAT(shared->Open(), IsOk());
  EXPECT_THAT(shared->Train(2), IsOk());
  EXPECT_THAT(shared->Close(), IsOk());
}

TEST(TwoWriters, ASaverBesideAHookOfTheSameProcessWorks) {
  const TempDir dir;
  const auto chief = StartChief(dir.path());
  ASSERT_THAT(chief, IsOk());
  Program saver;
  EXPECT_THAT(saver.SetAndSave(7, dir / "other"), IsOk());
  EXPECT_THAT((*chief)->Train(1), IsOk());
  EXPECT_THAT((*chief)->Close(), IsOk());
}

// Row 21: rotation against readers.
TEST(TwoWriters, AReaderGetsAWholeCheckpointOrNone) {
  const int64_t reads = FromEnvironment("TFTRAIN_FAULTS_READS", 200);
  const TempDir dir;
  UnsyncedFileOps fast;
  Saver::Options options;
  options.max_to_keep = 1;
  Program writer(options);
  ASSERT_THAT(writer.SetAndSave(0, dir / "model"), IsOk());
  Child first, second;
  for (Child* child : {&first, &second}) {
    child->Tell(absl::StrCat("read ", dir.path(), " ", reads));
  }
  std::atomic<bool> done = false;
  std::vector<std::string> answers;
  std::thread listener([&] {
    answers = {first.Answer(), second.Answer()};
    done = true;
  });
  absl::Status status;
  int64_t step = 0;
  while (!done && status.ok()) {
    status = writer.SetAndSave(++step, dir / "model").status();
  }
  listener.join();
  EXPECT_THAT(status, IsOk());
  EXPECT_THAT(answers, testing::Each(absl::StrCat(reads, " restored")));
  ASSERT_THAT(writer.SetAndSave(++step, dir / "model"), IsOk());
  EXPECT_THAT(ListCheckpoints(dir.path()), IsOkAndHolds(testing::SizeIs(1)));
  RecordProperty("saves", std::to_string(step));
}

}  // namespace
}  // namespace tftrain
