// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Shows that an installed tftrain compiles, links and runs: one step of a NoOp
// on TensorFlow's own session, which fails if its kernels were not linked in.

#include <cstdlib>
#include <iostream>
#include <memory>
#include <vector>

#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/public/session.h"
#include "tftrain/tftrain.h"

namespace {

absl::Status RunNoOp() {
  tensorflow::GraphDef graph;
  tensorflow::NodeDef* node = graph.add_node();
  node->set_name("nothing");
  node->set_op("NoOp");

  tensorflow::Session* made = nullptr;
  absl::Status status =
      tensorflow::NewSession(tensorflow::SessionOptions(), &made);
  if (!status.ok()) return status;
  const std::unique_ptr<tensorflow::Session> session(made);
  status = session->Create(graph);
  if (!status.ok()) return status;
  std::vector<tensorflow::Tensor> outputs;
  status = session->Run({}, {}, {"nothing"}, &outputs);
  if (!status.ok()) return status;
  return session->Close();
}

}  // namespace

int main() {
  const absl::Status status = RunNoOp();
  if (!status.ok() || tftrain::IsCleanStop(status)) {
    std::cerr << status << "\n";
    return EXIT_FAILURE;
  }
  std::cout << "one step was run\n";
  return EXIT_SUCCESS;
}
