// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Statistics of steps, for the tests of timelines.
//
// Thread-safe: the functions share nothing.

#ifndef TFTRAIN_SUMMARY_STEP_STATS_FOR_TEST_H_
#define TFTRAIN_SUMMARY_STEP_STATS_FOR_TEST_H_

#include <cstdint>
#include <limits>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "google/protobuf/text_format.h"
#include "tensorflow/core/framework/allocation_description.pb.h"
#include "tensorflow/core/framework/step_stats.pb.h"
#include "tensorflow/core/framework/tensor_description.pb.h"
#include "tensorflow/core/platform/logging.h"

namespace tftrain {

// The statistics that `text` describes.
inline tensorflow::StepStats ParseStepStats(const std::string& text) {
  tensorflow::StepStats stats;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &stats)) << text;
  return stats;
}

// An output of so many bytes, for ParseStepStats.
inline std::string OutputText(int bytes, const std::string& allocator = "cpu") {
  return absl::StrCat(
      "output { tensor_description { dtype: DT_FLOAT shape { dim { size: 2 } } "
      "allocation_description { requested_bytes: ",
      bytes, " allocator_name: \"", allocator, "\" } } } ");
}

// A node with a label of the runtime, for ParseStepStats.
inline std::string NodeText(const std::string& name, const std::string& label,
                            int64_t start, int64_t micros,
                            const std::string& outputs = "") {
  return absl::StrCat("node_stats { node_name: \"", name,
                      "\" timeline_label: \"", label,
                      "\" all_start_micros: ", start,
                      " all_end_rel_micros: ", micros, " ", outputs, "} ");
}

// A device with its nodes, for ParseStepStats.
inline std::string DeviceText(const std::string& name,
                              const std::string& nodes) {
  return absl::StrCat("dev_stats { device: \"", name, "\" ", nodes, "} ");
}

// A step on two devices and a GPU: transfers between them, kernels in streams,
// tensors of several allocators, some made again, and labels that say nothing.
inline tensorflow::StepStats BusyStepStats() {
  const std::string cpu = "/job:localhost/replica:0/task:0/device:CPU:0";
  const std::string gpu = "/job:localhost/replica:0/task:0/device:GPU:0";
  return ParseStepStats(absl::StrCat(
      DeviceText(cpu, absl::StrCat(
                          NodeText("_SOURCE", "_SOURCE = NoOp()", 100, 1),
                          NodeText("a", "a = Const()", 103, 5, OutputText(8)),
                          NodeText("b", "b = Split(a, missing, ^c)", 104, 20,
                                   OutputText(4) + OutputText(0) +
                                       OutputText(12, "mkl")),
                          NodeText("RecvTensor", "[8B] a from x to y", 110, 3),
                          NodeText("again", "again = Add(b:2, b:1)", 130, 9,
                                   OutputText(16, "mkl")),
                          NodeText("again", "again = Add(b:2, b)", 131, 2,
                                   OutputText(2, "mkl")),
                          NodeText("late", "late = Neg(again/_7, again, a)",
                                   131, 0, OutputText(5, "cp\\303\\274")))),
      DeviceText(
          gpu, absl::StrCat(
                   NodeText("scope/mul", "scope/mul = Mul(a/_3, a/_3)", 112, 4,
                            OutputText(1000000, "gpu")),
                   NodeText("odd = (x", "odd = (x = F(\\\"(a)\\\", b) [c](d",
                            118, 4),
                   NodeText("empty", "", 119, 4, OutputText(3)),
                   NodeText("lines", "lines\\n = F(a)", 119, 0),
                   NodeText("", " = (a)", 119, 1, OutputText(3)),
                   NodeText("/_3", "x = F(/_3, /_4)", 125, 1, OutputText(7)))),
      DeviceText("/device:GPU:0/stream:all",
                 NodeText("scope/mul:Mul", "", 120, 7) +
                     NodeText("k", "kernel@@scope/mul:Mul#id=1#", 113, 2) +
                     NodeText("b:Split", "k @@#", 90, 200) +
                     NodeText("plain", "# @@plain", 140, 1)),
      DeviceText("/gpu:0/memcpy",
                 NodeText("edge", "MEMCPYHtoD@@edge_3:_Send:x#bytes=8#", 111, 1,
                          OutputText(9))),
      DeviceText(gpu, NodeText("twice", "twice = Neg(a)", 150, 1)),
      DeviceText("other", NodeText("b", "b = Neg(a)", 1, 1))));
}

// Statistics that no step can have: times and sizes at the limits of their
// types, names that are not UTF-8, brackets and control characters everywhere.
inline tensorflow::StepStats HostileStepStats(uint32_t seed) {
  std::mt19937 random(seed);
  const auto text = [&random] {
    static const std::string* const kPieces =
        new std::string[]{"a",        "b",        " = ",
                          "(",        ")",        ", ",
                          "@",        "@@",       "#",
                          ":",        "/_",       "\n",
                          "/",        "\"",       "\\",
                          "/stream:", "/job",     "/stream:all",
                          "é",        "😀",        "\xED\xA0\x80",
                          "\xFF",     "\xC0\x80", std::string(1, '\0'),
                          "",         "\t",       "\x7F"};
    std::string made;
    for (auto i = random() % 8; i > 0; --i) made += kPieces[random() % 27];
    return made;
  };
  const auto number = [&random] {
    using Limits = std::numeric_limits<int64_t>;
    const int64_t numbers[] = {Limits::min(), Limits::min() + 1, -1, 0, 1, 5,
                               Limits::max()};
    return numbers[random() % 7];
  };
  tensorflow::StepStats stats;
  for (auto i = random() % 4; i > 0; --i) {
    tensorflow::DeviceStepStats& device = *stats.add_dev_stats();
    device.set_device(text());
    for (auto k = random() % 8; k > 0; --k) {
      tensorflow::NodeExecStats& node = *device.add_node_stats();
      node.set_node_name(text());
      node.set_timeline_label(text());
      node.set_all_start_micros(number());
      node.set_all_end_rel_micros(number());
      for (auto n = random() % 3; n > 0; --n) {
        tensorflow::TensorDescription& description =
            *node.add_output()->mutable_tensor_description();
        description.mutable_allocation_description()->set_requested_bytes(
            number());
        description.mutable_allocation_description()->set_allocator_name(
            text());
      }
    }
  }
  return stats;
}

}  // namespace tftrain

#endif  // TFTRAIN_SUMMARY_STEP_STATS_FOR_TEST_H_
