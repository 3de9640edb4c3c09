// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What can be fetched and fed, and how the answer looks.

#include <cstdio>
#include <string>
#include <tuple>

#include "examples/guide/model.h"

namespace tft = tftrain;

absl::Status Train() {
  TF_ASSIGN_OR_RETURN(const tft::GraphPtr graph, MakeModel());
  TF_ASSIGN_OR_RETURN(auto session,
                      tft::SingularMonitoredSession::Create(graph));
  const tft::Target train("train");
  const tft::Fetch<float> loss("loss:0");
  const tft::Fetch<float> w("w/Read/ReadVariableOp:0");

  // One value, as the type that was asked for.
  TF_ASSIGN_OR_RETURN(const float first, session->Run(loss, {{"x:0", 2.0}}));
  std::printf("one: %g\n", first);

  // Several at once; an operation has no value.
  TF_ASSIGN_OR_RETURN(const auto answer,
                      session->Run(std::tuple{train, loss, w}, {{"x:0", 2}}));
  const auto [before, weight] = answer;
  std::printf("tuple: %g %g\n", before, weight);

  // A structure chosen at run time, answered in the same shape.
  const tft::FetchTree tree =
      tft::Map({{"loss", loss}, {"weights", tft::List({w, train})}});
  TF_ASSIGN_OR_RETURN(const tft::Value value,
                      session->Run(tree, {{"x:0", 2.0f}}));
  TF_ASSIGN_OR_RETURN(const float nested, value.Get<float>({"weights", 0}));
  std::printf("tree: %g\n", nested);

  // Bound once, called like a function.
  TF_ASSIGN_OR_RETURN(auto step,
                      session->Prepare(std::tuple{train, loss}, {"x:0"}));
  for (int i = 0; i < 3; ++i) {
    TF_ASSIGN_OR_RETURN(const float now, step(2.0f));
    std::printf("prepared: %g\n", now);
  }

  // A mistake is told with the name that was probably meant.
  const auto wrong = session->Run(tft::Fetch<float>("los:0"));
  std::printf("error: %s\n", std::string(wrong.status().message()).c_str());
  return session->Close();
}

int main() {
  const absl::Status status = Train();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
