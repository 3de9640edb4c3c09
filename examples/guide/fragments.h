// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What the fragments of code in the documentation use without saying so; see
// scripts/doc_fragments.py.

#ifndef TFTRAIN_EXAMPLES_GUIDE_FRAGMENTS_H_
#define TFTRAIN_EXAMPLES_GUIDE_FRAGMENTS_H_

#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/tftrain.h"

namespace tft = tftrain;

// Each fragment is compiled as a method of a class that inherits this. None is
// ever called.
struct Given {
  float NextBatch();

  tft::SingularMonitoredSession::Options options;
  std::unique_ptr<tft::SingularMonitoredSession> session;
  tft::GraphPtr eval_graph;
  tft::Target train{"train"};
  tft::Feeds feeds;
  tensorflow::Tensor tensor, images;
  int64_t step = 0;
  int64_t task = 0;
};

#endif  // TFTRAIN_EXAMPLES_GUIDE_FRAGMENTS_H_
