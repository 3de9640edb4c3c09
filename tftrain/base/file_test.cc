// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tftrain/testing/faulty_file_ops.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;

constexpr int64_t kLimit = 1000;
constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

class FileTest : public ::testing::Test {
 protected:
  std::string Path(std::string_view name) const { return dir_ / name; }

  absl::Status Write(std::string_view name, std::string_view contents,
                     const WriteOptions& options = {}) const {
    return WriteFileAtomically(Path(name), contents, options);
  }

  absl::StatusOr<std::string> Read(std::string_view name) const {
    return ReadFile(Path(name), kLimit);
  }

  mode_t Permissions(std::string_view name) const {
    struct stat stat;
    EXPECT_EQ(lstat(Path(name).c_str(), &stat), 0);
    return stat.st_mode & 07777;
  }

  const TempDir dir_;
};

TEST_F(FileTest, HoldsWhatWasWritten) {
  const std::string bytes("a\0b\xff\n", 5);
  for (const std::string& contents : {bytes, std::string()}) {
    ASSERT_THAT(Write("file", contents), IsOk());

    EXPECT_THAT(Read("file"), IsOkAndHolds(contents));
    EXPECT_THAT(FileSize(Path("file")),
                IsOkAndHolds(static_cast<int64_t>(contents.size())));
  }
  EXPECT_THAT(dir_.List(), ElementsAre("file"));
}

TEST_F(FileTest, ReadsUpToItsLimit) {
  ASSERT_THAT(Write("file", std::string(kLimit, 'x')), IsOk());
  EXPECT_THAT(Read("file"), IsOk());

  ASSERT_THAT(Write("file", std::string(kLimit + 1, 'x')), IsOk());
  EXPECT_THAT(Read("file"),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr(Path("file")), HasSubstr("1000"))));
}

TEST_F(FileTest, ReadsFilesWhoseSizeTheSystemDoesNotKnow) {
  EXPECT_THAT(ReadFile("/proc/self/status", 1 << 20),
              IsOkAndHolds(HasSubstr("Threads:")));
  EXPECT_THAT(ReadFile("/proc/self/status", 3),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

// Reliability S4.
TEST_F(FileTest, ReadsNothingButRegularFiles) {
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);

  EXPECT_THAT(Read("fifo"), StatusIs(kInvalid, HasSubstr("regular file")));
  EXPECT_THAT(Read("."), StatusIs(kInvalid, HasSubstr("regular file")));
  EXPECT_THAT(ReadFile("/dev/zero", kLimit), StatusIs(kInvalid));
  EXPECT_THAT(SyncFile(Path("fifo")), StatusIs(kInvalid));
  EXPECT_THAT(FileSize(Path("fifo")), StatusIs(kInvalid));
}

TEST_F(FileTest, NamesTheFileThatIsMissing) {
  EXPECT_THAT(Read("none"),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr(absl::StrCat("\"", Path("none"), "\"")),
                             HasSubstr("No such file"))));
  EXPECT_THAT(SyncFile(Path("none")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(FileSize(Path("none")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(RemoveFile(Path("none")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ListFolder(Path("none")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Write("none/x", ""), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(FileTest, RefusesPathsThatNameNothing) {
  for (const std::string& path : {std::string(), std::string("a\0b", 3)}) {
    EXPECT_THAT(ReadFile(path, kLimit), StatusIs(kInvalid));
    EXPECT_THAT(WriteFileAtomically(path, ""), StatusIs(kInvalid));
    EXPECT_THAT(SyncFile(path), StatusIs(kInvalid));
    EXPECT_THAT(CreateFolders(path), StatusIs(kInvalid));
    EXPECT_THAT(RemoveFile(path), StatusIs(kInvalid));
    EXPECT_THAT(RenameDurably(path, Path("x")), StatusIs(kInvalid));
    EXPECT_THAT(RenameDurably(Path("x"), path), StatusIs(kInvalid));
    EXPECT_THAT(GetFileInfo(path), StatusIs(kInvalid));
    EXPECT_THAT(FileExists(path), StatusIs(kInvalid));
  }
  EXPECT_THAT(Write("folder/", ""), StatusIs(kInvalid, HasSubstr("folder")));
}

// Reliability S4.
TEST_F(FileTest, ReplacesALinkInsteadOfWritingThroughIt) {
  ASSERT_THAT(Write("victim", "secret"), IsOk());
  ASSERT_EQ(symlink("victim", Path("link").c_str()), 0);

  ASSERT_THAT(Write("link", "new"), IsOk());

  EXPECT_THAT(Read("victim"), IsOkAndHolds("secret"));
  EXPECT_THAT(Read("link"), IsOkAndHolds("new"));
}

// Reliability S5.
TEST_F(FileTest, IsNeverWiderThanTheUmask) {
  const mode_t former = umask(027);
  EXPECT_THAT(Write("default", ""), IsOk());
  EXPECT_THAT(Write("closed", "", WriteOptions{false, 0600}), IsOk());
  umask(0);
  EXPECT_THAT(Write("open", ""), IsOk());
  EXPECT_THAT(Write("chosen", "", WriteOptions{true, 0640}), IsOk());
  umask(former);

  EXPECT_EQ(Permissions("default"), 0640u);
  EXPECT_EQ(Permissions("closed"), 0600u);
  EXPECT_EQ(Permissions("open"), 0666u);
  EXPECT_EQ(Permissions("chosen"), 0640u);
}

TEST_F(FileTest, TellsItsTemporaryFilesFromOthers) {
  const std::string name = ".tftrain.tmp-0123456789abcdef0123456789abcdef";

  EXPECT_TRUE(IsTemporaryName(name));
  EXPECT_FALSE(IsTemporaryName(name + "0"));
  EXPECT_FALSE(IsTemporaryName(name.substr(1)));
  EXPECT_FALSE(
      IsTemporaryName(".tftrain.tmp-0123456789ABCDEF0123456789abcdef"));
  EXPECT_FALSE(IsTemporaryName("model.ckpt-1.index"));
}

TEST_F(FileTest, RenamesOverWhatIsThere) {
  ASSERT_THAT(Write("a", "new"), IsOk());
  ASSERT_THAT(Write("b", "old"), IsOk());
  ASSERT_THAT(CreateFolders(Path("other")), IsOk());

  EXPECT_THAT(RenameDurably(Path("a"), Path("b")), IsOk());
  EXPECT_THAT(RenameDurably(Path("b"), Path("other/c")), IsOk());

  EXPECT_THAT(dir_.List(), ElementsAre("other"));
  EXPECT_THAT(Read("other/c"), IsOkAndHolds("new"));
  EXPECT_THAT(RenameDurably(Path("a"), Path("b")),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr(Path("a")), HasSubstr(Path("b")))));
}

TEST_F(FileTest, MakesAllFoldersThatAreMissing) {
  for (const char* const folder : {"a/b/c", "a/b/c", "a//d///", "a/x/../e"}) {
    EXPECT_THAT(CreateFolders(Path(folder)), IsOk()) << folder;
  }
  EXPECT_THAT(CreateFolders("/"), IsOk());

  EXPECT_THAT(ListFolder(Path("a")),
              IsOkAndHolds(ElementsAre("b", "d", "e", "x")));
  EXPECT_THAT(ListFolder(Path("a/b")), IsOkAndHolds(ElementsAre("c")));
}

TEST_F(FileTest, MakesNoFolderWhereAFileIs) {
  ASSERT_THAT(Write("file", ""), IsOk());

  EXPECT_THAT(
      CreateFolders(Path("file")),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(Path("file"))));
  EXPECT_THAT(CreateFolders(Path("file/x")),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(FileTest, KnowsWhatAPathIs) {
  ASSERT_THAT(Write("file", "123"), IsOk());
  const absl::StatusOr<FileInfo> file = GetFileInfo(Path("file"));
  const absl::StatusOr<FileInfo> folder = GetFileInfo(dir_.path());

  ASSERT_THAT(file, IsOk());
  EXPECT_TRUE(file->is_regular);
  EXPECT_FALSE(file->is_folder);
  EXPECT_EQ(file->size, 3);
  // The kernel stamps files with a clock of its own, a few ms behind.
  EXPECT_THAT(file->modified, AllOf(Ge(absl::Now() - absl::Hours(1)),
                                    Le(absl::Now() + absl::Minutes(1))));
  ASSERT_THAT(folder, IsOk());
  EXPECT_TRUE(folder->is_folder);
  EXPECT_FALSE(folder->is_regular);
}

TEST_F(FileTest, ExistsOrNot) {
  ASSERT_THAT(Write("file", ""), IsOk());
  ASSERT_EQ(symlink("none", Path("dangling").c_str()), 0);

  EXPECT_THAT(FileExists(Path("file")), IsOkAndHolds(true));
  EXPECT_THAT(FileExists(dir_.path()), IsOkAndHolds(true));
  EXPECT_THAT(FileExists(Path("none")), IsOkAndHolds(false));
  EXPECT_THAT(FileExists(Path("file/x")), IsOkAndHolds(false));
  EXPECT_THAT(FileExists(Path("dangling")), IsOkAndHolds(false));
  EXPECT_THAT(FileExists(Path(std::string(300, 'x'))), StatusIs(kInvalid));
}

TEST_F(FileTest, RemovesFilesOnly) {
  ASSERT_THAT(Write("file", ""), IsOk());
  ASSERT_THAT(CreateFolders(Path("folder")), IsOk());

  EXPECT_THAT(RemoveFile(Path("file")), IsOk());
  EXPECT_THAT(RemoveFile(Path("folder")),
              StatusIs(AnyOf(absl::StatusCode::kFailedPrecondition,
                             absl::StatusCode::kPermissionDenied)));
  EXPECT_THAT(dir_.List(), ElementsAre("folder"));
}

TEST_F(FileTest, AnEmptyFolderNameIsTheCurrentFolder) {
  EXPECT_THAT(SyncFolder(""), IsOk());
  EXPECT_THAT(ListFolder(""), IsOk());
}

// Reliability, fault 7: each call fails in turn, once and for good.
class FileFaultTest : public FileTest,
                      public ::testing::WithParamInterface<
                          std::tuple<int, FaultyFileOps::Fault>> {
 protected:
  // Counted from 0, as FaultyFileOpsTest shows.
  static constexpr int kRename = 7;
  static constexpr int kCallsOfAWrite = 11;

  int error_number() const { return std::get<0>(GetParam()); }
  FaultyFileOps::Fault fault() const { return std::get<1>(GetParam()); }

  auto IsTheFault() const {
    return StatusIs(ErrnoToCode(error_number()),
                    HasSubstr(absl::StrCat("\"", dir_.path())));
  }
};

TEST_P(FileFaultTest, AFailedWriteKeepsTheFormerFileAndLeavesNothing) {
  for (int call = 0; call < kCallsOfAWrite; ++call) {
    SCOPED_TRACE(call);
    ASSERT_THAT(Write("file", "former"), IsOk());
    absl::Status status;
    {
      FaultyFileOps faults;
      faults.FailCall(call, error_number(), fault());
      status = Write("file", "new");
    }
    // Only the folder's way to the disk comes later.
    const bool renamed = call > kRename;

    EXPECT_THAT(status, IsTheFault());
    EXPECT_THAT(Read("file"), IsOkAndHolds(renamed ? "new" : "former"));
    if (fault() == FaultyFileOps::Fault::kOnce) {
      EXPECT_THAT(dir_.List(), ElementsAre("file"));
    }
    EXPECT_THAT(Write("file", "next"), IsOk());
    EXPECT_THAT(Read("file"), IsOkAndHolds("next"));
  }
}

TEST_P(FileFaultTest, AFailedReadIsAnError) {
  ASSERT_THAT(Write("file", "text"), IsOk());
  FaultyFileOps faults;
  for (int call = 0; call < 4; ++call) {
    SCOPED_TRACE(call);
    faults.FailCall(call, error_number(), fault());
    EXPECT_THAT(Read("file"), IsTheFault());
  }
}

TEST_P(FileFaultTest, AFailedFolderIsAnError) {
  FaultyFileOps faults;
  for (int call = 0; call < 3; ++call) {
    SCOPED_TRACE(call);
    faults.FailCall(call, error_number(), fault());
    EXPECT_THAT(CreateFolders(Path(absl::StrCat("folder", call))),
                IsTheFault());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Faults, FileFaultTest,
    ::testing::Combine(::testing::Values(ENOSPC, EIO, EDQUOT, EFBIG, EACCES,
                                         EROFS, EMFILE, EPERM),
                       ::testing::Values(FaultyFileOps::Fault::kOnce,
                                         FaultyFileOps::Fault::kSticky)));

TEST_F(FileTest, ASignalInterruptsNothing) {
  FaultyFileOps faults;
  for (int call = 0; call < 11; ++call) {
    faults.FailCall(call, EINTR);
    if (const absl::Status status = Write("file", "text"); !status.ok()) {
      // Asked again, these may act twice; they do not wait, so that no signal
      // comes between.
      EXPECT_THAT(faults.calls()[call], AnyOf("fstat", "fchmod", "rename"))
          << status;
    }
  }
}

TEST_F(FileTest, AFileSystemThatCannotSyncFoldersIsFine) {
  FaultyFileOps faults;
  faults.FailCall(1, EINVAL);
  EXPECT_THAT(SyncFolder(dir_.path()), IsOk());
  faults.FailCall(1, EIO);
  EXPECT_THAT(SyncFolder(dir_.path()), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(FileTest, ForcesNothingToTheDiskUnlessDurable) {
  FaultyFileOps faults;
  ASSERT_THAT(Write("file", "text", WriteOptions{false, 0666}), IsOk());

  EXPECT_THAT(faults.calls(), Not(Contains("fsync")));
}

// Reliability R6.
TEST(ErrnoTest, NoFileErrorLooksLikeAnEndingOrALostProcess) {
  for (int error_number = 1; error_number < 200; ++error_number) {
    EXPECT_THAT(
        ErrnoToCode(error_number),
        Not(AnyOf(absl::StatusCode::kOk, absl::StatusCode::kOutOfRange,
                  absl::StatusCode::kAborted, absl::StatusCode::kUnavailable)))
        << error_number;
  }
}

TEST(ErrnoTest, SaysWhatFailedAndWhatToDo) {
  EXPECT_THAT(ErrnoError(ENOSPC, "cannot write", "/x/y"),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       "cannot write \"/x/y\": No space left on device; free "
                       "some space or choose another folder"));
}

// The expected values are those of Python's os.path.
TEST(PathTest, JoinsAsPythonDoes) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("a", "/b"), "/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
  EXPECT_EQ(JoinPath("a", ""), "a/");
  EXPECT_EQ(JoinPath("/", "b"), "/b");
}

TEST(PathTest, SplitsAsPythonDoes) {
  struct Case {
    const char* path;
    const char* folder;
    const char* name;
  };
  for (const Case& c :
       {Case{"a/b", "a", "b"}, Case{"/a", "/", "a"}, Case{"a", "", "a"},
        Case{"a/", "a", ""}, Case{"a//b", "a", "b"}, Case{"//a", "//", "a"},
        Case{"/", "/", ""}, Case{"", "", ""},
        Case{"/a/b/c.d", "/a/b", "c.d"}}) {
    EXPECT_EQ(DirName(c.path), c.folder) << c.path;
    EXPECT_EQ(BaseName(c.path), c.name) << c.path;
  }
}

}  // namespace
}  // namespace tftrain
