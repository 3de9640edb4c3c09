// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tests/faults/checkpoint_run.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/status.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/file.h"
#include "tftrain/checkpoint/filename.h"
#include "tftrain/checkpoint/internal/bundle.h"
#include "tftrain/checkpoint/internal/variable_store.h"
#include "tftrain/setup/session_manager.h"

namespace tftrain {
namespace {

using Names = SaveHabits::Names;

std::optional<int64_t> ToNumber(float value) {
  return static_cast<int64_t>(value);
}
std::optional<int64_t> ToNumber(int64_t value) { return value; }
std::optional<int64_t> ToNumber(const tensorflow::tstring& value) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(std::string_view(value), &number)) return std::nullopt;
  return number;
}

// The number in the only element, or in all of them.
template <typename T>
std::optional<int64_t> NumberIn(const tensorflow::Tensor& tensor) {
  const auto values = tensor.flat<T>();
  for (int64_t i = 0; i < values.size(); ++i) {
    if (values(i) != values(0)) return std::nullopt;
  }
  return ToNumber(values(0));
}

std::optional<int64_t> NumberIn(const tensorflow::Tensor& tensor) {
  switch (tensor.dtype()) {
    case tensorflow::DT_INT64:
      return NumberIn<int64_t>(tensor);
    case tensorflow::DT_STRING:
      return NumberIn<tensorflow::tstring>(tensor);
    default:
      return NumberIn<float>(tensor);
  }
}

size_t HashOf(const FolderContent& content) {
  size_t hash = 0;
  const auto add = [&hash](std::string_view text) {
    hash = hash * 1'000'003 + std::hash<std::string_view>()(text);
  };
  for (const auto& [path, bytes] : content) {
    add(path);
    add(bytes);
  }
  return hash;
}

}  // namespace

void MustSucceed(const absl::Status& status) { CHECK(status.ok()) << status; }

std::vector<SaveHabits> AllSaveHabits() {
  std::vector<SaveHabits> all;
  const auto add = [&all](std::string name, std::string script) -> SaveHabits& {
    all.push_back({std::move(name), std::move(script)});
    return all.back();
  };
  add("First", "s");
  add("Second", "ss");
  add("KeepOne", "sss").max_to_keep = 1;
  add("KeepTwo", "ssss").max_to_keep = 2;
  add("KeepAll", "sss").max_to_keep = 0;
  add("OneName", "ss").names = Names::kOne;
  add("OneNameThrice", "sss").names = Names::kOne;
  {
    SaveHabits& habits = add("OneNameInBackground", "aaa");
    habits.names = Names::kOne;
    habits.max_to_keep = 1;
  }
  {
    SaveHabits& habits = add("OneNameRestarted", "srsrs");
    habits.names = Names::kOne;
    habits.write_meta_graph = false;
  }
  add("FallingNames", "sss").names = Names::kFalling;
  {
    SaveHabits& habits = add("FallingNamesRotated", "ssss");
    habits.names = Names::kFalling;
    habits.max_to_keep = 2;
  }
  add("Restarted", "srs");
  {
    SaveHabits& habits = add("RestartedAndRotated", "ssrsrs");
    habits.max_to_keep = 2;
  }
  add("WithoutMeta", "sss").write_meta_graph = false;
  add("WithoutStateThenWith", "nnss");
  {
    SaveHabits& habits = add("InBackground", "aaa");
    habits.max_to_keep = 1;
  }
  {
    SaveHabits& habits = add("CopiedInBackground", "aasa");
    habits.snapshot = SnapshotMode::kCopy;
    habits.max_to_keep = 2;
  }
  add("Streamed", "ss").snapshot = SnapshotMode::kStream;
  {
    SaveHabits& habits = add("EveryHour", "shshshs");
    habits.max_to_keep = 1;
    habits.keep_every_n_hours = 2;
  }
  {
    SaveHabits& habits = add("ManyVariables", "ss");
    habits.variables.clear();
    for (int i = 0; i < 20; ++i) {
      habits.variables.push_back(absl::StrCat("layer_", i, "/weights"));
    }
  }
  {
    SaveHabits& habits = add("Parts", "ssas");
    habits.variables = {"w/part_0", "w/part_1", "w/part_2"};
    habits.model.whole = "w";
    habits.max_to_keep = 2;
  }
  add("Text", "sas").model.has_text = true;
  add("DeepFolder", "ss").basename = "runs/today/run/model";
  return all;
}

SaveHabits HabitsNamed(const std::string& name) {
  for (const SaveHabits& habits : AllSaveHabits()) {
    if (habits.name == name) return habits;
  }
  LOG(FATAL) << "no habits are named \"" << name << "\"";
}

SavingProgram::SavingProgram(const SaveHabits& habits)
    : habits_(habits),
      clock_(absl::Now() + absl::Hours(1)),
      model_(Saver::Options(), habits.variables, habits.model) {}

std::string SavingProgram::FolderBelow(const std::string& root) const {
  return JoinPath(root, DirName(habits_.basename));
}

std::string SavingProgram::PrefixBelow(const std::string& root,
                                       int64_t number) const {
  const std::string base = JoinPath(root, habits_.basename);
  switch (habits_.names) {
    case Names::kGrowing:
      return absl::StrCat(base, "-", number);
    case Names::kFalling:
      return absl::StrCat(base, "-", 1000 - number);
    case Names::kOne:
      break;
  }
  return base;
}

absl::Status SavingProgram::NewSaver() {
  tensorflow::SaverDef def = model_.saver().saver_def();
  def.set_max_to_keep(habits_.max_to_keep);
  def.set_keep_checkpoint_every_n_hours(habits_.keep_every_n_hours);
  TF_ASSIGN_OR_RETURN(saver_,
                      Saver::FromSaverDef(*model_.graph(), def, &clock_));
  return absl::OkStatus();
}

absl::Status SavingProgram::Start(const std::string& root) {
  TF_RETURN_IF_ERROR(NewSaver());
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<SessionManager> manager,
                      SessionManager::Create(model_.graph(), {}));
  SessionManager::PrepareOptions options;
  options.saver = saver_;
  // A first run has no folder yet.
  TF_ASSIGN_OR_RETURN(const bool exists, FileExists(FolderBelow(root)));
  if (exists) options.checkpoint_dir = FolderBelow(root);
  options.init_op = "init";
  TF_ASSIGN_OR_RETURN(session_, manager->PrepareSession(options));
  return absl::OkStatus();
}

std::optional<int64_t> SavingProgram::Number() {
  const auto store = internal::VariableStore::Of(*session_);
  std::optional<int64_t> number;
  std::vector<std::string> names = habits_.variables;
  names.push_back("global_step");
  if (habits_.model.has_text) names.push_back("text");
  for (const std::string& name : names) {
    const auto variable = store->Find({"", name});
    if (variable == nullptr) return std::nullopt;
    const std::optional<int64_t> found = NumberIn(*variable->tensor());
    if (!found || (number && *number != *found)) return std::nullopt;
    number = found;
  }
  return number;
}

void SavingProgram::Set(int64_t number) {
  CHECK(session_->Run(Target("set"), {{"number:0", number}}).ok());
}

absl::Status SavingProgram::Save(const std::string& root, int64_t number,
                                 char mode) {
  Set(number);
  Saver::SaveOptions options;
  options.snapshot = habits_.snapshot;
  options.write_meta_graph = habits_.write_meta_graph;
  options.write_state = mode != 'n';
  const std::string prefix = PrefixBelow(root, number);
  if (mode != 'a') return saver_->Save(*session_, prefix, options).status();
  TF_RETURN_IF_ERROR(saver_->SaveAsync(*session_, prefix, options).status());
  // Training goes on.
  Set(-number);
  return absl::OkStatus();
}

void WriteFolder(const std::string& folder, const FolderContent& content) {
  std::filesystem::create_directories(folder);
  for (const auto& [path, bytes] : content) {
    if (absl::EndsWith(path, "/")) {
      std::filesystem::create_directory(JoinPath(folder, path));
    } else {
      std::ofstream(JoinPath(folder, path), std::ios::binary) << bytes;
    }
  }
}

void StagedFolder::Put(const FolderContent& content) {
  // From the end, so that folders are empty when they are removed.
  for (auto it = there_.rbegin(); it != there_.rend(); ++it) {
    if (content.count(it->first) == 0) {
      std::filesystem::remove(dir_ / it->first);
    }
  }
  FolderContent differs;
  for (const auto& [path, bytes] : content) {
    const auto former = there_.find(path);
    if (former == there_.end() || former->second != bytes) {
      differs[path] = bytes;
    }
  }
  WriteFolder(dir_.path(), differs);
  there_ = content;
}

const FolderContent& StagedFolder::Read() {
  there_ = ReadFolder(dir_.path());
  return there_;
}

absl::Status CheckCheckpoint(const std::string& prefix, int64_t number) {
  TF_ASSIGN_OR_RETURN(const std::unique_ptr<internal::Bundle> bundle,
                      internal::Bundle::Open(prefix));
  for (const auto& [name, entry] : bundle->entries()) {
    TF_ASSIGN_OR_RETURN(const tensorflow::Tensor value, bundle->Read(name));
    if (NumberIn(value) != number) {
      return absl::DataLossError(absl::StrCat(prefix, ": ", name, " is ",
                                              value.SummarizeValue(2), ", not ",
                                              number));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> TemporaryFilesIn(const FolderContent& content) {
  std::vector<std::string> found;
  for (const auto& [path, bytes] : content) {
    if (absl::StartsWith(BaseName(path), ".tftrain")) found.push_back(path);
  }
  return found;
}

RecordedRun::RecordedRun(SavingProgram& program, size_t largest_write,
                         const Breaker& breaker) {
  const TempDir dir;
  CrashDisk disk(dir.path(), largest_write);
  {
    std::unique_ptr<internal::FileOps> broken;
    if (breaker != nullptr) {
      broken = breaker(disk);
      internal::ExchangeFileOps(broken.get());
    }
    Play(program, disk, dir.path());
    internal::ExchangeFileOps(&disk);
  }
  calls_ = disk.calls();
  end_ = ReadFolder(dir.path());
}

void RecordedRun::Play(SavingProgram& program, const CrashDisk& disk,
                       const std::string& root) {
  int64_t number = 0;
  int64_t in_background = 0;
  int64_t acknowledged = 0;
  std::map<int64_t, std::string> kept;
  const auto acknowledge = [&](int64_t saved, bool with_state) {
    if (with_state) {
      std::map<int64_t, std::string> still_kept;
      const std::vector<std::string> prefixes =
          program.saver().last_checkpoints();
      for (const auto& [old, prefix] : kept) {
        if (prefix != program.PrefixBelow("", saved) &&
            std::count(prefixes.begin(), prefixes.end(),
                       JoinPath(root, prefix)) > 0) {
          still_kept[old] = prefix;
        }
      }
      kept = std::move(still_kept);
    }
    kept[saved] = program.PrefixBelow("", saved);
    acknowledged = saved;
    marks_.push_back({disk.call_count(), saved, true, kept});
  };
  // Nobody knows what became of a save, nor what it deleted.
  const auto forget = [&] {
    kept.clear();
    marks_.push_back({disk.call_count(), acknowledged, true, {}});
  };
  // Under the name of an older one, a save that failed may have taken its
  // place.
  const auto reuses_name = [&](int64_t saved) {
    return saved > 1 &&
           program.PrefixBelow("", saved) == program.PrefixBelow("", saved - 1);
  };
  const auto await = [&] {
    const int64_t saved = std::exchange(in_background, 0);
    if (saved == 0) return;
    if (program.saver().WaitForSave().ok()) {
      acknowledge(saved, true);
    } else if (reuses_name(saved)) {
      forget();
    }
  };
  MustSucceed(program.Start(root));
  for (const char action : program.habits().script) {
    if (action == 'h') {
      program.LetAnHourPass();
    } else if (action == 'd') {
      MustSucceed(program.NewSaver());
      if (std::exchange(in_background, 0) > 0) forget();
    } else if (action == 'r') {
      await();
      MustSucceed(program.Start(root));
    } else {
      marks_.push_back({disk.call_count(), ++number, false, {}});
      const absl::Status status = program.Save(root, number, action);
      // The one before was waited for, and its error would be this one's.
      const int64_t former = std::exchange(in_background, 0);
      if (!status.ok()) {
        if (former > 0 || reuses_name(number)) forget();
        continue;
      }
      if (former > 0) acknowledge(former, true);
      if (action == 'a') {
        in_background = number;
      } else {
        acknowledge(number, action == 's');
      }
    }
  }
  await();
}

ExpectedState RecordedRun::ExpectedAt(size_t count) const {
  ExpectedState expected;
  std::optional<std::map<int64_t, std::string>> next;
  for (const Mark& mark : marks_) {
    if (mark.calls > count) {
      if (!mark.acknowledged) continue;
      next = mark.kept;
      break;
    }
    if (mark.acknowledged) {
      expected.acknowledged = mark.number;
      expected.kept = mark.kept;
    } else {
      expected.begun = mark.number;
    }
  }
  if (!next.has_value()) return expected;
  // What the next save deletes may be gone in part.
  for (auto it = expected.kept.begin(); it != expected.kept.end();) {
    it = next->count(it->first) > 0 ? std::next(it) : expected.kept.erase(it);
  }
  return expected;
}

BeforeLastSave PlayUntilLastSave(const SaveHabits& habits) {
  SaveHabits shorter = habits;
  shorter.script.pop_back();
  SavingProgram before(shorter);
  const RecordedRun run(before, /*largest_write=*/1 << 20);
  BeforeLastSave result = {run.end(), run.ExpectedAt(run.calls().size())};
  ++result.expected.begun;
  // What the last save deletes may be gone in part.
  SavingProgram whole(habits);
  const RecordedRun all(whole, /*largest_write=*/1 << 20);
  const auto left = all.ExpectedAt(all.calls().size()).kept;
  std::map<int64_t, std::string>& kept = result.expected.kept;
  for (auto it = kept.begin(); it != kept.end();) {
    it = left.count(it->first) > 0 ? std::next(it) : kept.erase(it);
  }
  return result;
}

absl::StatusOr<int64_t> RestartCheck::Start() {
  TF_RETURN_IF_ERROR(program_.Start(folder_.path()));
  const std::optional<int64_t> number = program_.Number();
  if (!number) return absl::InternalError("the variables differ");
  return *number;
}

std::string RestartCheck::Check(const FolderContent& content,
                                const ExpectedState& expected, bool thorough) {
  const size_t hash = HashOf(content);
  auto known = known_.find(hash);
  const bool is_new = known == known_.end();
  if (is_new || thorough) folder_.Put(content);
  if (is_new) known = known_.emplace(hash, Start()).first;
  const absl::StatusOr<int64_t>& number = known->second;
  if (!number.ok()) {
    return absl::StrCat("the start fails: ", number.status().ToString());
  }
  if (*number < expected.acknowledged || *number > expected.begun) {
    return absl::StrCat("found ", *number, ", not ", expected.acknowledged,
                        " to ", expected.begun);
  }
  return thorough ? SaveAgain(expected) : "";
}

std::string RestartCheck::SaveAgain(const ExpectedState& expected) {
  const std::string& root = folder_.path();
  for (const auto& [number, prefix] : expected.kept) {
    const absl::Status status = CheckCheckpoint(JoinPath(root, prefix), number);
    if (!status.ok()) return status.ToString();
  }
  const int64_t next = expected.begun + 1;
  absl::Status status = program_.Start(root);
  if (status.ok()) status = program_.Save(root, next, 's');
  if (!status.ok()) {
    return absl::StrCat("the next save fails: ", status.ToString());
  }
  for (const std::string& path : TemporaryFilesIn(folder_.Read())) {
    return absl::StrCat("\"", path, "\" stays after the next save");
  }
  const absl::StatusOr<int64_t> found = Start();
  return found.ok() && *found == next
             ? ""
             : absl::StrCat(
                   "found ", found.value_or(-1),
                   " after the next save: ", found.status().ToString());
}

}  // namespace tftrain
