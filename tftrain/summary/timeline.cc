// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/timeline.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/text_format.h"
#include "tensorflow/core/framework/allocation_description.pb.h"
#include "tensorflow/core/framework/step_stats.pb.h"
#include "tensorflow/core/framework/tensor_description.pb.h"
#include "tftrain/base/utf8.h"

namespace tftrain {
namespace {

using tensorflow::DeviceStepStats;
using tensorflow::NodeExecStats;
using tensorflow::StepStats;

constexpr char kUnknown[] = "unknown";

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

// The sum and the difference, or the limit that they would go beyond.
int64_t Sum(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b < 0 ? kMin : kMax;
}
int64_t Difference(int64_t a, int64_t b) {
  int64_t difference = 0;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return b < 0 ? kMax : kMin;
}

int64_t StartOf(const NodeExecStats& node) { return node.all_start_micros(); }
int64_t EndOf(const NodeExecStats& node) {
  return Sum(node.all_start_micros(), node.all_end_rel_micros());
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  while (!text.empty()) {
    const char32_t c = TakeCharacter(text);
    constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t";
    constexpr std::string_view kLetters = "\"\\bfnrt";
    const size_t special =
        c < 0x80 ? kEscaped.find(static_cast<char>(c)) : kEscaped.npos;
    if (special != kEscaped.npos) {
      quoted += {'\\', kLetters[special]};
    } else if (c >= ' ' && c <= '~') {
      quoted += static_cast<char>(c);
    } else if (c < 0x10000) {
      absl::StrAppendFormat(&quoted, "\\u%04x", static_cast<uint32_t>(c));
    } else {
      const auto rest = static_cast<uint32_t>(c - 0x10000);
      absl::StrAppendFormat(&quoted, "\\u%04x\\u%04x", 0xD800 + (rest >> 10),
                            0xDC00 + (rest & 0x3FF));
    }
  }
  return quoted += '"';
}

// A JSON object, with the members in the order in which they are added, laid
// out as Python's `json.dumps` does it with an indent of 4.
//
// Confined: use from the thread that created it.
class Object {
 public:
  // `depth` is how many brackets it lies in.
  explicit Object(int depth) : indent_(4 * static_cast<size_t>(depth), ' ') {}

  Object& Add(std::string_view key, int64_t value) {
    return AddJson(key, absl::StrCat(value));
  }
  Object& Add(std::string_view key, std::string_view value) {
    return AddJson(key, Quoted(value));
  }
  Object& Add(std::string_view key, const char* value) {
    return Add(key, std::string_view(value));
  }
  Object& Add(std::string_view key, const Object& value) {
    return AddJson(key, value.Text());
  }

  // REQUIRES: it has a member.
  std::string Text() const {
    return absl::StrCat("{", members_, "\n", indent_, "}");
  }

 private:
  Object& AddJson(std::string_view key, std::string_view json) {
    absl::StrAppend(&members_, members_.empty() ? "\n" : ",\n", indent_, "    ",
                    Quoted(key), ": ", json);
    return *this;
  }

  const std::string indent_;
  std::string members_;
};

// How deep events and what they hold lie in a trace.
constexpr int kEventDepth = 2;
Object Arguments() { return Object(kEventDepth + 1); }

// Where an event is drawn.
struct Place {
  int64_t pid = 0;
  int64_t tid = 0;

  bool operator==(const Place& other) const {
    return pid == other.pid && tid == other.tid;
  }
};

// The events of a Chrome trace.
//
// Confined: use from the thread that created it.
class Trace {
 public:
  void AddProcess(std::string_view name, int64_t pid) {
    processes_.push_back(Object(kEventDepth)
                             .Add("name", "process_name")
                             .Add("ph", "M")
                             .Add("pid", pid)
                             .Add("args", Arguments().Add("name", name))
                             .Text());
  }

  // `phase` is what kind of event it is, a letter.
  static Object Event(std::string_view phase, std::string_view category,
                      std::string_view name, Place place, int64_t time) {
    Object event(kEventDepth);
    event.Add("ph", phase)
        .Add("cat", category)
        .Add("name", name)
        .Add("pid", place.pid)
        .Add("tid", place.tid)
        .Add("ts", time);
    return event;
  }

  void Add(const Object& event) { events_.push_back(event.Text()); }

  std::string Text() const {
    std::string text = "{\n    \"traceEvents\": [";
    const char* separator = "\n        ";
    for (const auto* const events : {&processes_, &events_}) {
      for (const std::string& event : *events) {
        absl::StrAppend(&text, separator, event);
        separator = ",\n        ";
      }
    }
    return text += "\n    ]\n}";
  }

 private:
  std::vector<std::string> processes_;
  std::vector<std::string> events_;
};

// The operation and the inputs in "name = operation(input, input)".
struct OpLabel {
  std::string_view op = kUnknown;
  std::vector<std::string_view> inputs;
};

OpLabel ParseOpLabel(std::string_view label) {
  // Of several brackets the last ones count, and they lie in the first line.
  label = label.substr(0, label.find('\n'));
  const size_t close = label.rfind(')');
  if (close == label.npos || close == 0) return {};
  const size_t open = label.rfind('(', close - 1);
  constexpr std::string_view kEquals = " = ";
  if (open == label.npos || open < kEquals.size()) return {};
  const size_t equals = label.rfind(kEquals, open - kEquals.size());
  if (equals == label.npos) return {};
  const size_t begin = equals + kEquals.size();
  OpLabel parsed;
  parsed.op = label.substr(begin, open - begin);
  const std::string_view inputs = label.substr(open + 1, close - open - 1);
  if (!inputs.empty()) parsed.inputs = absl::StrSplit(inputs, ", ");
  return parsed;
}

// The name and the operation of a kernel, from "... @@name:operation#..." or
// else from the name of the node.
std::pair<std::string, std::string> ParseKernelLabel(
    const NodeExecStats& node) {
  const std::string_view label = node.timeline_label();
  std::string_view annotation = node.node_name();
  const size_t start = label.find("@@");
  const size_t end = label.find('#');
  if (start != label.npos && end != label.npos && start + 2 < end) {
    annotation = label.substr(start + 2, end - start - 2);
  }
  const std::vector<std::string> fields = absl::StrSplit(annotation, ':');
  return {fields[0], fields.size() > 1 ? fields[1] : kUnknown};
}

// Whether the device is a trace of what a GPU did.
bool IsGpuTrace(std::string_view device) {
  return absl::StrContains(device, "/stream:") ||
         absl::StrContains(device, "/memcpy");
}

// The statistics with the times of operations extended to those of their
// kernels.
StepStats WithKernelTimes(StepStats stats, Timeline::OpTime op_time) {
  struct Span {
    int64_t start;
    int64_t end;
  };
  const auto is_all_streams = [](const DeviceStepStats& device) {
    return absl::StrContains(device.device(), "/stream:all");
  };
  std::unordered_map<std::string, Span> kernels;
  for (const DeviceStepStats& device : stats.dev_stats()) {
    if (!is_all_streams(device)) continue;
    for (const NodeExecStats& kernel : device.node_stats()) {
      const Span span = {StartOf(kernel), EndOf(kernel)};
      const auto [it, is_first] =
          kernels.emplace(ParseKernelLabel(kernel).first, span);
      if (is_first) continue;
      it->second.start = std::min(it->second.start, span.start);
      it->second.end = std::max(it->second.end, span.end);
    }
  }
  for (DeviceStepStats& device : *stats.mutable_dev_stats()) {
    if (is_all_streams(device) || !absl::StrContains(device.device(), "/job")) {
      continue;
    }
    for (NodeExecStats& op : *device.mutable_node_stats()) {
      const auto it = kernels.find(op.node_name());
      if (it == kernels.end()) continue;
      const int64_t end = std::max(it->second.end, EndOf(op));
      if (op_time == Timeline::OpTime::kGpu) {
        op.set_all_start_micros(it->second.start);
      }
      op.set_all_end_rel_micros(Difference(end, StartOf(op)));
    }
  }
  return stats;
}

// For each node a lane in which nothing else runs at that time: the first that
// is free, or a new one.
std::vector<int64_t> AssignLanes(const DeviceStepStats& device) {
  std::vector<int64_t> lane_ends = {0};
  std::vector<int64_t> lanes;
  for (const NodeExecStats& node : device.node_stats()) {
    auto lane = std::find_if(lane_ends.begin(), lane_ends.end(),
                             [&](int64_t end) { return end < StartOf(node); });
    if (lane == lane_ends.end()) lane = lane_ends.insert(lane, 0);
    *lane = EndOf(node);
    lanes.push_back(lane - lane_ends.begin());
  }
  return lanes;
}

std::string DescriptionOf(const tensorflow::NodeOutput& output) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseUtf8StringEscaping(true);
  std::string text;
  printer.PrintToString(output.tensor_description(), &text);
  text.erase(std::remove(text.begin(), text.end(), '"'), text.end());
  return text;
}

// Builds the trace of one step.
//
// Confined: use from the thread that created it.
class Analysis {
 public:
  Analysis(const StepStats& stats, const Timeline::Options& options)
      : stats_(stats), options_(options) {}

  Timeline::StepStatsAnalysis Run() {
    AddProcesses();
    for (const Device& device : devices_) AddOutputs(device);
    for (const Device& device : devices_) AddNodes(device);
    Timeline::StepStatsAnalysis result;
    if (options_.show_memory) AddMemory(&result.allocator_maximums);
    result.chrome_trace = trace_.Text();
    return result;
  }

 private:
  static constexpr int64_t kAllocatorsPid = 0;

  struct Device {
    const DeviceStepStats* stats;
    int64_t compute_pid;
    int64_t tensors_pid;
    std::vector<int64_t> lanes;
  };

  // A tensor, and where the node that made it ended.
  struct Tensor {
    std::string name;
    std::string allocator;
    int64_t id = 0;
    int64_t pid = 0;
    int64_t bytes = 0;
    int64_t created = 0;
    int64_t last_use = 0;
    int64_t produced = 0;
    Place producer;
  };

  // Memory that a tensor takes, or gives back.
  struct Change {
    int64_t time;
    int64_t bytes;
    std::string_view tensor;

    bool operator<(const Change& other) const {
      return std::tie(time, bytes, tensor) <
             std::tie(other.time, other.bytes, other.tensor);
    }
  };

  void AddProcesses() {
    trace_.AddProcess("Allocators", kAllocatorsPid);
    int64_t pid = kAllocatorsPid;
    std::unordered_map<std::string, std::pair<int64_t, int64_t>> pids;
    for (const DeviceStepStats& device : stats_.dev_stats()) {
      const int64_t compute = ++pid;
      const int64_t tensors = ++pid;
      trace_.AddProcess(device.device() + " Compute", compute);
      trace_.AddProcess(device.device() + " Tensors", tensors);
      pids[device.device()] = {compute, tensors};
    }
    // A device that is listed twice is drawn in its last processes.
    for (const DeviceStepStats& device : stats_.dev_stats()) {
      const auto [compute, tensors] = pids[device.device()];
      devices_.push_back({&device, compute, tensors, AssignLanes(device)});
    }
  }

  void AddOutputs(const Device& device) {
    for (int i = 0; i < device.stats->node_stats_size(); ++i) {
      const NodeExecStats& node = device.stats->node_stats(i);
      const int64_t lane = device.lanes[static_cast<size_t>(i)];
      for (int k = 0; k < node.output_size(); ++k) {
        const auto& allocation =
            node.output(k).tensor_description().allocation_description();
        Tensor tensor;
        tensor.name = node.node_name();
        if (k > 0) absl::StrAppend(&tensor.name, ":", k);
        tensor.allocator = allocation.allocator_name();
        tensor.id = static_cast<int64_t>(tensors_.size());
        tensor.pid = device.tensors_pid;
        tensor.bytes = allocation.requested_bytes();
        tensor.created = StartOf(node);
        tensor.last_use = tensor.produced = EndOf(node);
        tensor.producer = {device.compute_pid, lane};
        if (options_.show_memory) {
          const Place place = {device.tensors_pid, lane};
          trace_.Add(
              Trace::Event("N", "Tensor", tensor.name, place, StartOf(node))
                  .Add("id", tensor.id));
          Object snapshot(kEventDepth + 2);
          snapshot.Add("tensor_description", DescriptionOf(node.output(k)));
          trace_.Add(Trace::Event("O", "Tensor", tensor.name, place,
                                  Difference(EndOf(node), 1))
                         .Add("id", tensor.id)
                         .Add("args", Arguments().Add("snapshot", snapshot)));
        }
        Keep(std::move(tensor));
      }
    }
  }

  // A tensor made again takes the place of the former one.
  void Keep(Tensor tensor) {
    const auto [it, is_new] = index_.emplace(tensor.name, tensors_.size());
    if (is_new) {
      tensors_.push_back(std::move(tensor));
    } else {
      tensors_[it->second] = std::move(tensor);
    }
  }

  // The tensor that an input names, also after a transfer between devices,
  // which adds "/_" and a number; null if there is none.
  Tensor* Find(std::string_view* input) {
    auto it = index_.find(std::string(*input));
    const size_t suffix = input->rfind("/_");
    if (it == index_.end() && suffix != input->npos && suffix > 0) {
      *input = input->substr(0, suffix);
      it = index_.find(std::string(*input));
    }
    return it == index_.end() ? nullptr : &tensors_[it->second];
  }

  void AddNodes(const Device& device) {
    const bool is_gpu_trace = IsGpuTrace(device.stats->device());
    for (int i = 0; i < device.stats->node_stats_size(); ++i) {
      const NodeExecStats& node = device.stats->node_stats(i);
      const Place place = {device.compute_pid,
                           device.lanes[static_cast<size_t>(i)]};
      std::string name = node.node_name();
      std::string op = "RecvTensor";
      std::vector<std::string_view> inputs;
      if (is_gpu_trace) {
        std::tie(name, op) = ParseKernelLabel(node);
      } else if (name != op) {
        OpLabel label = ParseOpLabel(node.timeline_label());
        op = label.op;
        inputs = std::move(label.inputs);
      }
      Object args = Arguments();
      args.Add("name", name).Add("op", op);
      for (size_t k = 0; k < inputs.size(); ++k) {
        args.Add(absl::StrCat("input", k), inputs[k]);
      }
      trace_.Add(Trace::Event("X", "Op", op, place, StartOf(node))
                     .Add("dur", node.all_end_rel_micros())
                     .Add("args", args));
      for (const std::string_view input : inputs) AddUse(input, node, place);
    }
  }

  // `node`, drawn at `place`, reads `input`.
  void AddUse(std::string_view input, const NodeExecStats& node, Place place) {
    Tensor* const tensor = Find(&input);
    if (tensor == nullptr) return;
    tensor->last_use = std::max(tensor->last_use, Difference(EndOf(node), 1));
    // An arrow along a lane would hide what is in it.
    if (!options_.show_dataflow || tensor->producer == place) return;
    const int64_t id = next_flow_id_++;
    trace_.Add(
        Trace::Event("s", "DataFlow", input, tensor->producer, tensor->produced)
            .Add("id", id));
    trace_.Add(Trace::Event("t", "DataFlow", input, place, StartOf(node))
                   .Add("id", id));
  }

  void AddMemory(std::map<std::string, Timeline::AllocationMaximum>* maximums) {
    std::vector<std::pair<std::string, std::vector<Change>>> allocators;
    std::unordered_map<std::string, size_t> index;
    for (const Tensor& tensor : tensors_) {
      trace_.Add(Trace::Event("D", "Tensor", tensor.name, {tensor.pid, 0},
                              tensor.last_use)
                     .Add("id", tensor.id));
      const auto [it, is_new] =
          index.emplace(tensor.allocator, allocators.size());
      if (is_new) allocators.push_back({tensor.allocator, {}});
      std::vector<Change>& changes = allocators[it->second].second;
      changes.push_back({tensor.created, tensor.bytes, tensor.name});
      changes.push_back(
          {tensor.last_use, Difference(0, tensor.bytes), tensor.name});
    }
    for (auto& [allocator, changes] : allocators) {
      std::sort(changes.begin(), changes.end());
      (*maximums)[allocator] = AddCounters(allocator, changes);
    }
  }

  // Shows how much memory is in use after each change.
  Timeline::AllocationMaximum AddCounters(const std::string& allocator,
                                          const std::vector<Change>& changes) {
    Timeline::AllocationMaximum maximum;
    size_t until_maximum = 0;
    int64_t total = 0;
    for (size_t i = 0; i < changes.size(); ++i) {
      total = Sum(total, changes[i].bytes);
      if (total > maximum.num_bytes) {
        maximum.timestamp = changes[i].time;
        maximum.num_bytes = total;
        until_maximum = i + 1;
      }
      trace_.Add(Trace::Event("C", "Memory", allocator, {kAllocatorsPid, 0},
                              changes[i].time)
                     .Add("args", Arguments().Add(allocator, total)));
    }
    for (size_t i = 0; i < until_maximum; ++i) {
      if (changes[i].bytes < 0) {
        maximum.tensors.erase(std::string(changes[i].tensor));
      } else {
        maximum.tensors.emplace(changes[i].tensor);
      }
    }
    return maximum;
  }

  const StepStats& stats_;
  const Timeline::Options options_;
  Trace trace_;
  std::vector<Device> devices_;
  // In the order in which their names first appeared, and where they are.
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
  int64_t next_flow_id_ = 0;
};

}  // namespace

Timeline::StepStatsAnalysis Timeline::AnalyzeStepStats(
    const Options& options) const {
  if (options.op_time == OpTime::kSchedule) {
    return Analysis(step_stats_, options).Run();
  }
  const StepStats extended = WithKernelTimes(step_stats_, options.op_time);
  return Analysis(extended, options).Run();
}

}  // namespace tftrain
