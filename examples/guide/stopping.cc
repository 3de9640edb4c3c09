// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The ways a run can end well, and what its summary tells.

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "examples/guide/model.h"

namespace tft = tftrain;
using Session = tft::SingularMonitoredSession;

// Trains with `body` as the loop's body, and prints how it ended.
absl::Status Run(const char* title, std::vector<tft::HookPtr> hooks,
                 const std::function<absl::Status(Session&)>& body) {
  TF_ASSIGN_OR_RETURN(const tft::GraphPtr graph, MakeModel());
  Session::Options options;
  options.hooks = std::move(hooks);
  TF_ASSIGN_OR_RETURN(auto session, Session::Create(graph, options));
  TF_ASSIGN_OR_RETURN(const tft::Summary summary,
                      session->RunUntilStop([&] { return body(*session); }));
  std::printf("%s: %s after step %ld (%s)\n", title,
              std::string(tft::StopReasonName(summary.reason)).c_str(),
              *summary.last_step, summary.detail.c_str());
  return absl::OkStatus();
}

absl::Status Train() {
  const tft::Target train("train");
  const tft::Feeds feeds = {{"x:0", 2.0f}};

  // A hook asks for it.
  TF_RETURN_IF_ERROR(Run("hook", {tft::StopAtStep(3)}, [&](Session& session) {
    return session.Run(train, feeds);
  }));

  // Somebody else asks for it, from any thread; the step that runs is finished.
  TF_RETURN_IF_ERROR(Run("thread", {}, [&](Session& session) {
    std::thread([&] { session.RequestStop("the price has changed"); }).join();
    return session.Run(train, feeds);
  }));

  // A step function, which may also step without hooks.
  TF_RETURN_IF_ERROR(Run("function", {}, [&](Session& session) {
    return session.RunStepFn([&](tft::StepContext& context) -> absl::Status {
      TF_RETURN_IF_ERROR(context.session().Run(train, feeds));
      TF_RETURN_IF_ERROR(context.RunWithHooks(train, feeds));
      return context.RequestStop();
    });
  }));

  // The input ends: so says a queue or an iterator in a step, or the body.
  int left = 4;
  return Run("input", {}, [&](Session& session) {
    if (left-- == 0) return tft::EndOfInputError("there are no more numbers");
    return session.Run(train, feeds);
  });
}

int main() {
  const absl::Status status = Train();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
