// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/checkpoint_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <optional>

#include "absl/strings/str_cat.h"
#include "tftrain/checkpoint/checkpoint_list.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/log_capture.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Optional;

constexpr int64_t kLimit = 1 << 20;

// Two folders beside each other, the working directory among them.
class CheckpointStateTest : public ::testing::Test {
 protected:
  CheckpointStateTest() : run_(root_ / "run"), before_(Current()) {
    EXPECT_THAT(CreateFolders(run_), IsOk());
    EXPECT_THAT(CreateFolders(root_ / "other"), IsOk());
  }
  ~CheckpointStateTest() override { std::filesystem::current_path(before_); }

  static std::string Current() { return std::filesystem::current_path(); }

  // Writes a file of any content.
  void Write(const std::string& path, std::string_view text = "x") {
    ASSERT_THAT(WriteFileAtomically(path, text), IsOk());
  }
  // Writes the files of a checkpoint.
  void Save(const std::string& prefix) {
    Write(IndexFileName(prefix));
    Write(DataFileName(prefix, 0, 1));
  }
  void WriteState(std::string_view text) { Write(run_ + "/checkpoint", text); }
  std::string ReadState(const std::string& folder) {
    return ReadFile(folder + "/checkpoint", kLimit).value_or("no file");
  }
  static CheckpointState State(std::vector<std::string> paths) {
    CheckpointState state;
    state.model_checkpoint_path = paths.back();
    state.all_model_checkpoint_paths = std::move(paths);
    return state;
  }
  // What the state file of the run says about all checkpoints.
  std::vector<std::string> Paths(const CheckpointStateOptions& options = {}) {
    const auto state = GetCheckpointState(run_, options);
    if (!state.ok()) return {std::string(state.status().message())};
    if (!state->has_value()) return {"no state"};
    return (*state)->all_model_checkpoint_paths;
  }

  const TempDir root_;
  const std::string run_;
  const std::string before_;
};

// CKS-01
TEST_F(CheckpointStateTest, WhatWasWrittenIsReadWithTheFolder) {
  ASSERT_THAT(
      UpdateCheckpointState(run_, State({run_ + "/m-1", run_ + "/m-2"})),
      IsOk());

  const auto state = GetCheckpointState(run_);

  ASSERT_THAT(state, IsOk());
  ASSERT_TRUE(state->has_value());
  EXPECT_EQ((*state)->model_checkpoint_path, run_ + "/m-2");
  EXPECT_THAT((*state)->all_model_checkpoint_paths,
              ElementsAre(run_ + "/m-1", run_ + "/m-2"));
}

// CKS-03, CKS-04: relative paths are the default here.
TEST_F(CheckpointStateTest, PathsInTheFolderAreWrittenRelativeToIt) {
  ASSERT_THAT(UpdateCheckpointState(
                  run_, State({run_ + "/sub//m-1", "m-2", run_ + "/./m-3"})),
              IsOk());

  EXPECT_EQ(ReadState(run_),
            "model_checkpoint_path: \"m-3\"\n"
            "all_model_checkpoint_paths: \"sub/m-1\"\n"
            "all_model_checkpoint_paths: \"m-2\"\n"
            "all_model_checkpoint_paths: \"m-3\"\n");
}

// CKS-03
TEST_F(CheckpointStateTest, AbsolutePathsAreKeptOnRequest) {
  UpdateCheckpointStateOptions options;
  options.save_relative_paths = false;
  ASSERT_THAT(
      UpdateCheckpointState(run_, State({"m-1", run_ + "/m-2"}), options),
      IsOk());

  EXPECT_THAT(ReadState(run_),
              HasSubstr(absl::StrCat("all_model_checkpoint_paths: \"m-1\"\n"
                                     "all_model_checkpoint_paths: \"",
                                     run_, "/m-2\"\n")));
}

// CKS-03
TEST_F(CheckpointStateTest, RelativeFolderMakesPathsRelativeToIt) {
  std::filesystem::current_path(root_.path());
  ASSERT_THAT(UpdateCheckpointState("run", State({"run/m-1", run_ + "/m-2"})),
              IsOk());

  EXPECT_EQ(ReadState("run"),
            "model_checkpoint_path: \"m-2\"\n"
            "all_model_checkpoint_paths: \"m-1\"\n"
            "all_model_checkpoint_paths: \"m-2\"\n");
  EXPECT_THAT(GetCheckpointState("run"),
              IsOkAndHolds(Optional(State({"run/m-1", "run/m-2"}))));
}

// CKS-14
TEST_F(CheckpointStateTest, EmptyFolderIsTheWorkingDirectory) {
  std::filesystem::current_path(run_);
  ASSERT_THAT(UpdateCheckpointState("", State({"m-1"})), IsOk());

  EXPECT_THAT(GetCheckpointState(""), IsOkAndHolds(Optional(State({"m-1"}))));
  EXPECT_THAT(ReadState(run_), HasSubstr("\"m-1\""));
}

// CKS-03: a path outside stays absolute.
TEST_F(CheckpointStateTest, PathsOutsideTheFolderStayAbsolute) {
  ASSERT_THAT(UpdateCheckpointState(run_, State({root_ / "other/m-1"})),
              IsOk());

  EXPECT_THAT(ReadState(run_), HasSubstr(root_ / "other/m-1"));
}

// CKS-04
TEST_F(CheckpointStateTest, MovedFolderIsFollowed) {
  Save(run_ + "/m-1");
  ASSERT_THAT(UpdateCheckpointState(run_, State({run_ + "/m-1"})), IsOk());

  std::filesystem::rename(run_, root_ / "moved");

  EXPECT_THAT(LatestCheckpoint(root_ / "moved"),
              IsOkAndHolds(Optional(root_ / "moved/m-1")));
}

// CKS-05
TEST_F(CheckpointStateTest, OneCheckpointHasOneName) {
  WriteState(absl::StrCat(
      "model_checkpoint_path: './m-1' all_model_checkpoint_paths: 'm-0'"
      "all_model_checkpoint_paths: 'sub/.//m-0' "
      "all_model_checkpoint_paths: '",
      run_, "//m-1' all_model_checkpoint_paths: './m-1'"));

  EXPECT_THAT(Paths(), ElementsAre(run_ + "/m-0", run_ + "/sub/m-0",
                                   run_ + "/m-1", run_ + "/m-1"));

  // An absolute path is one in the folder, by however it is called.
  std::filesystem::current_path(root_.path());
  for (const std::string folder : {"run", "./run", "other/../run"}) {
    const auto state = GetCheckpointState(folder);
    ASSERT_THAT(state, IsOk());
    EXPECT_EQ((*state)->model_checkpoint_path, folder + "/m-1");
    EXPECT_THAT((*state)->all_model_checkpoint_paths,
                ElementsAre(folder + "/m-0", folder + "/sub/m-0",
                            folder + "/m-1", folder + "/m-1"));
  }
}

// CKS-06
TEST_F(CheckpointStateTest, NewestPathIsAppendedWhenItIsNotTheLast) {
  CheckpointState state = State({"m-1", "m-2"});
  state.model_checkpoint_path = "m-1";

  ASSERT_THAT(UpdateCheckpointState(run_, state), IsOk());

  EXPECT_THAT(Paths(),
              ElementsAre(run_ + "/m-1", run_ + "/m-2", run_ + "/m-1"));
}

// CKS-07
TEST_F(CheckpointStateTest, CheckpointMayNotHaveThePathOfTheStateFile) {
  for (const std::string& path : {run_ + "/checkpoint", run_ + "//./checkpoint",
                                  std::string("checkpoint")}) {
    EXPECT_THAT(UpdateCheckpointState(run_, State({path})),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         HasSubstr("path of the state file")));
  }
}

// CKS-08
TEST_F(CheckpointStateTest, NoFileIsNoState) {
  EXPECT_THAT(GetCheckpointState(run_), IsOkAndHolds(std::nullopt));
  EXPECT_THAT(GetCheckpointState(run_ + "/none"), IsOkAndHolds(std::nullopt));
}

// CKS-08, reliability row 11
TEST_F(CheckpointStateTest, FileThatCannotBeReadIsNoState) {
  WriteState("garbage");
  EXPECT_THAT(Paths(), ElementsAre("no state"));

  WriteState(std::string(kLimit + 1, ' '));
  EXPECT_THAT(Paths(), ElementsAre("no state"));

  ASSERT_THAT(RemoveFile(run_ + "/checkpoint"), IsOk());
  ASSERT_EQ(::mkfifo((run_ + "/checkpoint").c_str(), 0600), 0);
  EXPECT_THAT(Paths(), ElementsAre("no state"));

  ASSERT_THAT(RemoveFile(run_ + "/checkpoint"), IsOk());
  ASSERT_THAT(CreateFolders(run_ + "/checkpoint"), IsOk());
  EXPECT_THAT(Paths(), ElementsAre("no state"));
}

// CKS-08
TEST_F(CheckpointStateTest, StateWithoutNewestPathIsAnError) {
  WriteState("");
  EXPECT_THAT(GetCheckpointState(run_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("no model_checkpoint_path")));
}

// CKS-12
TEST_F(CheckpointStateTest, TimestampsMustMatchThePaths) {
  CheckpointState state = State({"m-1", "m-2"});
  state.all_model_checkpoint_timestamps = {1.5};
  EXPECT_THAT(UpdateCheckpointState(run_, state),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("2 paths and 1 timestamps")));

  state.all_model_checkpoint_timestamps = {1.5, 2.5};
  state.last_preserved_timestamp = 1;
  ASSERT_THAT(UpdateCheckpointState(run_, state), IsOk());
  const auto read = GetCheckpointState(run_);
  ASSERT_THAT(read, IsOk());
  EXPECT_THAT((*read)->all_model_checkpoint_timestamps, ElementsAre(1.5, 2.5));
  EXPECT_EQ((*read)->last_preserved_timestamp, 1);
}

TEST_F(CheckpointStateTest, EmptyNewestPathIsRefused) {
  EXPECT_THAT(UpdateCheckpointState(run_, CheckpointState()),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

// SVR-25
TEST_F(CheckpointStateTest, StateFilesNameHasNoFolder) {
  for (const char* name : {"", "sub/checkpoint", "/checkpoint"}) {
    CheckpointStateOptions read;
    read.latest_filename = name;
    UpdateCheckpointStateOptions write;
    write.latest_filename = name;
    const auto refused = StatusIs(absl::StatusCode::kInvalidArgument,
                                  HasSubstr("without a folder"));
    EXPECT_THAT(GetCheckpointState(run_, read), refused);
    EXPECT_THAT(LatestCheckpoint(run_, read), refused);
    EXPECT_THAT(UpdateCheckpointState(run_, State({"m"}), write), refused);
  }
}

TEST_F(CheckpointStateTest, StateFileMayHaveAnotherName) {
  UpdateCheckpointStateOptions write;
  write.latest_filename = "newest";
  CheckpointStateOptions read;
  read.latest_filename = "newest";

  ASSERT_THAT(UpdateCheckpointState(run_, State({"m-1"}), write), IsOk());

  EXPECT_THAT(Paths(read), ElementsAre(run_ + "/m-1"));
  EXPECT_THAT(Paths(), ElementsAre("no state"));
}

// CKS-02
TEST_F(CheckpointStateTest, FailedWriteLeavesTheFormerStateAlone) {
  ASSERT_THAT(UpdateCheckpointState(run_, State({"m-1"})), IsOk());
  FaultyFileOps faults;
  faults.FailCall(-1, 0);
  ASSERT_THAT(UpdateCheckpointState(run_, State({"m-1"})), IsOk());
  // The last calls force the folder to the disk, after the file is in place.
  const std::vector<std::string> calls = faults.calls();
  const auto rename = std::find(calls.begin(), calls.end(), "rename");
  ASSERT_NE(rename, calls.end());

  for (int call = 0; call <= rename - calls.begin(); ++call) {
    faults.FailCall(call, ENOSPC);
    EXPECT_THAT(UpdateCheckpointState(run_, State({"m-2"})),
                StatusIs(absl::StatusCode::kResourceExhausted))
        << call;
    faults.FailCall(-1, 0);
    EXPECT_THAT(Paths(), ElementsAre(run_ + "/m-1"));
    EXPECT_THAT(ListFolder(run_), IsOkAndHolds(ElementsAre("checkpoint")));
  }
}

TEST_F(CheckpointStateTest, OldestEntriesAreLeftOutBeyondTheLimits) {
  UpdateCheckpointStateOptions options;
  options.limits.max_entries = 3;
  CheckpointState state = State({"m-1", "m-2", "m-3", "m-4"});
  state.all_model_checkpoint_timestamps = {1, 2, 3, 4};
  ASSERT_THAT(UpdateCheckpointState(run_, state, options), IsOk());
  EXPECT_THAT(Paths(),
              ElementsAre(run_ + "/m-2", run_ + "/m-3", run_ + "/m-4"));

  options.limits.max_entries = 1000;
  options.limits.max_bytes = 150;
  ASSERT_THAT(UpdateCheckpointState(run_, state, options), IsOk());
  EXPECT_LE(ReadState(run_).size(), 150);
  EXPECT_EQ(Paths().back(), run_ + "/m-4");
}

// Reliability R5
TEST_F(CheckpointStateTest, AbsolutePathsOfAMovedFolderLeadToTheNewOne) {
  Save(run_ + "/m-2");
  WriteState(
      "model_checkpoint_path: '/gone/run/m-2'"
      "all_model_checkpoint_paths: '/gone/run/m-1'"
      "all_model_checkpoint_paths: '/gone/run/m-2'");

  EXPECT_THAT(Paths(), ElementsAre(run_ + "/m-2"));
  EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(Optional(run_ + "/m-2")));
}

// Reliability row 11: a copy must not touch the folder it was copied from.
TEST_F(CheckpointStateTest, CopiedFolderUsesItsOwnFiles) {
  Save(root_ / "other/m-1");
  Save(run_ + "/m-1");
  WriteState(
      absl::StrCat("model_checkpoint_path: '", root_ / "other/m-1", "'"));

  EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(Optional(run_ + "/m-1")));

  CheckpointStateOptions trusting;
  trusting.allow_outside = true;
  EXPECT_THAT(LatestCheckpoint(run_, trusting),
              IsOkAndHolds(Optional(root_ / "other/m-1")));
}

// Reliability S3
TEST_F(CheckpointStateTest, PathsThatLeaveTheFolderAreNotFollowed) {
  Save(root_ / "other/m-1");
  Save(root_ / "other/m-9");
  const std::string hostile = absl::StrCat(
      "model_checkpoint_path: '../other/m-9'"
      "all_model_checkpoint_paths: ['../other/m-1', 'x/../../other/m-1', '",
      root_ / "other/m-1", "', '", run_, "/../other/m-1",
      "', 'm\\000', 'm/', "
      "'..', 'm-2', '../other/m-9']");
  WriteState(hostile);

  EXPECT_THAT(Paths(), ElementsAre(run_ + "/m-2"));

  CheckpointStateOptions trusting;
  trusting.allow_outside = true;
  EXPECT_EQ(Paths(trusting).front(), run_ + "/../other/m-1");
  EXPECT_THAT(LatestCheckpoint(run_, trusting),
              IsOkAndHolds(Optional(run_ + "/../other/m-9")));
}

TEST_F(CheckpointStateTest, TimestampsOfIgnoredPathsAreIgnoredToo) {
  WriteState(
      "model_checkpoint_path: 'm-2' "
      "all_model_checkpoint_paths: ['../m-1', 'm-2'] "
      "all_model_checkpoint_timestamps: [1, 2]");

  const auto state = GetCheckpointState(run_);

  ASSERT_THAT(state, IsOk());
  EXPECT_THAT((*state)->all_model_checkpoint_timestamps, ElementsAre(2));
}

TEST_F(CheckpointStateTest, OnlyPathsThatLeaveTheFolderAreNoState) {
  WriteState("model_checkpoint_path: '../other/m-9'");

  EXPECT_THAT(Paths(), ElementsAre("no state"));
}

// Reliability R4: somebody wrote it, for a checkpoint.
TEST_F(CheckpointStateTest, AStateFileOfAnyKindIsNoNewStart) {
  const auto says_so = StatusIs(
      absl::StatusCode::kFailedPrecondition,
      AllOf(HasSubstr(run_ + "/checkpoint"), HasSubstr("to start anew")));
  for (const char* text :
       {"", "garbage", "model_checkpoint_path: '../other/m-9'",
        "model_checkpoint_path: '/elsewhere/m-9'"}) {
    WriteState(text);
    EXPECT_THAT(LatestCheckpoint(run_), says_so) << text;
  }
  ASSERT_THAT(RemoveFile(run_ + "/checkpoint"), IsOk());
  std::filesystem::create_symlink("nowhere", run_ + "/checkpoint");
  EXPECT_THAT(LatestCheckpoint(run_), says_so);
}

TEST_F(CheckpointStateTest, LatestIsWhatTheStateFileNames) {
  Save(run_ + "/m-1");
  Save(run_ + "/m-2");
  ASSERT_THAT(UpdateCheckpointState(run_, State({"m-1"})), IsOk());

  EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(Optional(run_ + "/m-1")));
}

TEST_F(CheckpointStateTest, EmptyFolderHasNoLatest) {
  EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(std::nullopt));
  EXPECT_THAT(LatestCheckpoint(run_ + "/none"), IsOkAndHolds(std::nullopt));
}

// Reliability R4
TEST_F(CheckpointStateTest, LatestIsFoundWithoutAStateFile) {
  Save(run_ + "/m-9");
  Save(run_ + "/m-10");

  EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(Optional(run_ + "/m-10")));
  for (const char* damaged : {"", "garbage", "model_checkpoint_path: \"m-1",
                              "model_checkpoint_path: '../x'"}) {
    WriteState(damaged);
    EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(Optional(run_ + "/m-10")))
        << damaged;
  }
}

// Reliability R4
TEST_F(CheckpointStateTest, LatestPassesOverWhatIsNotComplete) {
  Save(run_ + "/m-1");
  Save(run_ + "/m-2");
  Save(run_ + "/best-7");
  Write(run_ + "/m-3.index");
  ASSERT_THAT(UpdateCheckpointState(run_, State({"m-1", "m-2", "m-3"})),
              IsOk());

  EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(Optional(run_ + "/m-2")));

  ASSERT_THAT(RemoveFile(run_ + "/m-2.index"), IsOk());
  ASSERT_THAT(RemoveFile(run_ + "/m-1.index"), IsOk());
  EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(Optional(run_ + "/best-7")));
}

// Reliability R4: m-100 is of a run that was given up, as nobody lists it.
TEST_F(CheckpointStateTest, WhatTheStateFileListsComesFirst) {
  for (const std::string name : {"m-10", "m-50", "m-100", "n-200"}) {
    Save(run_ + "/" + name);
  }
  Write(run_ + "/m-70.index");
  ASSERT_THAT(
      UpdateCheckpointState(run_, State({"m-10", "m-50", "m-60", "m-70"})),
      IsOk());

  EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(Optional(run_ + "/m-50")));
  EXPECT_THAT(
      RankCheckpoints(*GetCheckpointState(run_), *ListCheckpoints(run_)),
      ElementsAre(run_ + "/m-70", run_ + "/m-50", run_ + "/m-10",
                  run_ + "/m-100", run_ + "/n-200"));
  EXPECT_THAT(RankCheckpoints(std::nullopt, *ListCheckpoints(run_)),
              ElementsAre(run_ + "/n-200", run_ + "/m-100", run_ + "/m-70",
                          run_ + "/m-50", run_ + "/m-10"));
}

// Reliability R4
TEST_F(CheckpointStateTest, LatestIsNeverSilentlyNone) {
  ASSERT_THAT(UpdateCheckpointState(run_, State({"m-3"})), IsOk());
  EXPECT_THAT(LatestCheckpoint(run_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr(run_ + "/m-3")));

  Write(run_ + "/m-3.index");
  EXPECT_THAT(LatestCheckpoint(run_), StatusIs(absl::StatusCode::kDataLoss,
                                               HasSubstr("lacks data files")));

  ASSERT_THAT(RemoveFile(run_ + "/checkpoint"), IsOk());
  EXPECT_THAT(LatestCheckpoint(run_), StatusIs(absl::StatusCode::kDataLoss));
}

// Calls `writer` before each attempt to open a file of `path`.
class WriterAtOpen : public FaultyFileOps {
 public:
  WriterAtOpen(std::string path, std::function<void(int)> writer)
      : path_(std::move(path)), writer_(std::move(writer)) {}

  int Open(const char* path, int flags, mode_t mode) override {
    if (path_ == path) writer_(++opens_);
    return FaultyFileOps::Open(path, flags, mode);
  }

 private:
  const std::string path_;
  const std::function<void(int)> writer_;
  int opens_ = 0;
};

// Row 21
TEST_F(CheckpointStateTest, LatestLooksAgainAfterASaveMeanwhile) {
  ASSERT_THAT(UpdateCheckpointState(run_, State({"m-1"})), IsOk());
  Write(run_ + "/m-2.index");
  // m-1 has gone already, and m-2 is whole by the second look.
  WriterAtOpen saves(run_ + "/checkpoint", [this](int look) {
    if (look != 2) return;
    Save(run_ + "/m-2");
    EXPECT_THAT(UpdateCheckpointState(run_, State({"m-2"})), IsOk());
  });
  const LogCapture log;

  EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(Optional(run_ + "/m-2")));

  EXPECT_THAT(log.lines(), Not(Contains(HasSubstr("not complete"))));
}

TEST_F(CheckpointStateTest, LatestDoesNotChaseAWriterForEver) {
  ASSERT_THAT(UpdateCheckpointState(run_, State({"m-0"})), IsOk());
  WriterAtOpen saves(run_ + "/checkpoint", [this](int look) {
    EXPECT_THAT(UpdateCheckpointState(run_, State({absl::StrCat("m-", look)})),
                IsOk());
  });

  EXPECT_THAT(LatestCheckpoint(run_),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(CheckpointStateTest, DataThatWasNeverCommittedIsNoCheckpoint) {
  Write(run_ + "/m-1.data-00000-of-00001");

  EXPECT_THAT(LatestCheckpoint(run_), IsOkAndHolds(std::nullopt));
}

TEST_F(CheckpointStateTest, ResolvesWhateverLeadsToACheckpoint) {
  Save(run_ + "/m-1");
  Save(run_ + "/m-2");
  Write(run_ + "/m-1.meta");
  ASSERT_THAT(UpdateCheckpointState(run_, State({"m-1", "m-2"})), IsOk());

  for (const char* suffix : {"", ".index", ".meta", ".data-00000-of-00001"}) {
    EXPECT_THAT(ResolveCheckpoint(run_ + "/m-1" + suffix),
                IsOkAndHolds(run_ + "/m-1"))
        << suffix;
  }
  EXPECT_THAT(ResolveCheckpoint(run_), IsOkAndHolds(run_ + "/m-2"));
  EXPECT_THAT(ResolveCheckpoint(run_ + "/checkpoint"),
              IsOkAndHolds(run_ + "/m-2"));
}

TEST_F(CheckpointStateTest, WhatResolvesToNothingIsExplained) {
  EXPECT_THAT(ResolveCheckpoint(run_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(run_)));
  EXPECT_THAT(ResolveCheckpoint(run_ + "/m-1"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("is no checkpoint, give its prefix")));

  Save(run_ + "/m-2");
  Write(run_ + "/m-3.meta");
  EXPECT_THAT(
      ResolveCheckpoint(run_ + "/m-1"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(run_ + "/m-2")));
  EXPECT_THAT(ResolveCheckpoint(run_ + "/m-3.meta"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("there is no \"" + run_ + "/m-3.index\"")));
  EXPECT_THAT(ResolveCheckpoint(run_ + "/m-2.index/x"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("is no checkpoint")));
}

// Reliability row 12
TEST_F(CheckpointStateTest, WhatCannotBeLookedAtIsNoWrongPath) {
  Save(run_ + "/m-1");
  for (const std::string& path : {run_, run_ + "/m-1", run_ + "/m-1.index"}) {
    FaultyFileOps files;
    for (const int call : {0, 1}) {  // at the path, then at the index
      files.FailCall(call, EIO);
      EXPECT_THAT(ResolveCheckpoint(path),
                  StatusIs(absl::StatusCode::kDataLoss,
                           AllOf(HasSubstr(path), HasSubstr("Input/output"))))
          << call;
    }
    files.FailCall(0, EACCES, FaultyFileOps::Fault::kSticky);
    EXPECT_THAT(ResolveCheckpoint(path),
                StatusIs(absl::StatusCode::kPermissionDenied,
                         HasSubstr("Permission denied")));
  }
}

TEST_F(CheckpointStateTest, WhatTheSystemRefusesIsToldInItsWords) {
  // Its index has a name that is too long, though it has none itself.
  EXPECT_THAT(ResolveCheckpoint(run_ + "/" + std::string(250, 'm')),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("File name too long")));
  ASSERT_EQ(::symlink("loop", (run_ + "/loop").c_str()), 0);
  EXPECT_THAT(ResolveCheckpoint(run_ + "/loop/m-1"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("Too many levels of symbolic links")));
}

}  // namespace
}  // namespace tftrain
