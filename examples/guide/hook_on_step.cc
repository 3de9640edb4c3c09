// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Hooks made of functions: one that looks, and one that ends training.

#include <cstdint>
#include <cstdio>
#include <tuple>

#include "examples/guide/model.h"

namespace tft = tftrain;

absl::Status Train() {
  TF_ASSIGN_OR_RETURN(const tft::GraphPtr graph, MakeModel());
  const tft::Fetch<float> w("w/Read/ReadVariableOp:0");
  const tft::Fetch<float> loss("loss:0");

  tft::SingularMonitoredSession::Options options;
  options.hooks = {
      // Every second step, beginning with the first: one argument for each
      // fetch, of its type.
      tft::OnStep(tft::Every::Steps(2), std::tuple{w, loss},
                  [](int64_t step, float w_now, float loss_now) {
                    std::printf("step %ld: w was %g, the loss %g\n", step,
                                w_now, loss_now);
                  }),
      // Every step, with the context, by which it may ask for a stop.
      tft::OnStep(tft::Every::Steps(1), loss,
                  [](tft::SessionRunContext& context, int64_t, float now) {
                    if (now < 0.01f) context.RequestStop("the loss is small");
                  })};
  TF_ASSIGN_OR_RETURN(auto session,
                      tft::SingularMonitoredSession::Create(graph, options));
  TF_ASSIGN_OR_RETURN(auto step,
                      session->Prepare(tft::Target("train"), {"x:0"}));
  TF_ASSIGN_OR_RETURN(const tft::Summary summary,
                      session->RunUntilStop([&] { return step(2.0f); }));
  std::printf("stopped after step %ld: %s\n", *summary.last_step,
              summary.detail.c_str());
  return absl::OkStatus();
}

int main() {
  const absl::Status status = Train();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
