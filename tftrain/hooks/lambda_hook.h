// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Hooks made of functions.

#ifndef TFTRAIN_HOOKS_LAMBDA_HOOK_H_
#define TFTRAIN_HOOKS_LAMBDA_HOOK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tftrain/hooks/every.h"
#include "tftrain/hooks/internal/coming_step.h"
#include "tftrain/hooks/second_or_step_timer.h"
#include "tftrain/hooks/session_run_hook.h"
#include "tftrain/session/fetch.h"

namespace tftrain {

// A hook whose callbacks are functions, each of which may be missing. Their
// contracts are those of SessionRunHook.
//
// Confined: the session calls a hook, and the hook its functions, from one
// thread.
//
//   LambdaHook::Options hook;
//   hook.end = [&](Session& session) -> absl::Status {
//     TF_ASSIGN_OR_RETURN(result, session.Run(Fetch<float>("accuracy:0")));
//     return absl::OkStatus();
//   };
//   options.hooks = {std::make_shared<LambdaHook>(hook)};
class LambdaHook : public SessionRunHook {
 public:
  struct Options {
    // How errors and logs call the hook.
    std::string name = "LambdaHook";

    std::function<absl::Status(BeginContext&)> begin;
    std::function<absl::Status(Session&, Coordinator&)> after_create_session;
    std::function<absl::StatusOr<SessionRunArgs>(SessionRunContext&)>
        before_run;
    std::function<absl::StatusOr<StepVerdict>(SessionRunContext&,
                                              const SessionRunValues&)>
        judge;
    std::function<absl::Status(SessionRunContext&)> on_undone;
    std::function<absl::Status(SessionRunContext&, const SessionRunValues&)>
        after_run;
    std::function<absl::Status(Session&)> end;
    std::function<void(const absl::Status&)> on_abort;

    // See SessionRunHook::waits_for_input().
    bool waits_for_input = true;
  };

  explicit LambdaHook(Options options);

  std::string name() const override { return options_.name; }
  bool waits_for_input() const override { return options_.waits_for_input; }
  bool judges() const override { return options_.judge != nullptr; }

  // Errors: those of the functions.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::StatusOr<StepVerdict> Judge(SessionRunContext& context,
                                    const SessionRunValues& values) override;
  absl::Status OnUndone(SessionRunContext& context) override;
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;
  absl::Status End(Session& session) override;
  void OnAbort(const absl::Status& status) override;

 private:
  const Options options_;
};

// Calls a function after some steps; see OnStep().
//
// Confined: as LambdaHook.
class OnStepHook : public SessionRunHook {
 public:
  using Fn =
      std::function<absl::Status(SessionRunContext& context, int64_t step,
                                 const SessionRunValues& values)>;

  // Asks for `args`, which may be empty, in those steps.
  OnStepHook(const Every& every, SessionRunArgs args, Fn fn);

  // Errors: those of SecondOrStepTimer; kInvalidArgument for an empty function;
  // kFailedPrecondition without a global step.
  absl::Status Begin(BeginContext& context) override;
  absl::Status AfterCreateSession(Session& session,
                                  Coordinator& coordinator) override;
  absl::StatusOr<SessionRunArgs> BeforeRun(SessionRunContext& context) override;
  absl::Status OnUndone(SessionRunContext& context) override;

  // Errors: those of the function.
  absl::Status AfterRun(SessionRunContext& context,
                        const SessionRunValues& values) override;

 private:
  const Every every_;
  const SessionRunArgs args_;
  const Fn fn_;
  std::optional<SecondOrStepTimer> timer_;
  internal::ComingStep step_;
  bool is_due_ = false;
};

namespace internal {

// Calls `fn` with `args` and answers with its status, OK if it has none.
template <typename Fn, typename... Args>
absl::Status CallForStatus(Fn& fn, Args&&... args) {
  if constexpr (std::is_void_v<std::invoke_result_t<Fn&, Args...>>) {
    fn(std::forward<Args>(args)...);
    return absl::OkStatus();
  } else {
    return fn(std::forward<Args>(args)...);
  }
}

// Calls `fn` with the step and `values`, and with `context` first, if it takes
// that.
template <typename Fn, typename... Values>
absl::Status CallOnStep(Fn& fn, SessionRunContext& context, int64_t step,
                        Values&&... values) {
  if constexpr (std::is_invocable_v<Fn&, SessionRunContext&, int64_t,
                                    Values...>) {
    return CallForStatus(fn, context, step, std::forward<Values>(values)...);
  } else {
    static_assert(std::is_invocable_v<Fn&, int64_t, Values...>,
                  "OnStep: the function takes the step and a value for each "
                  "fetch, and may take a SessionRunContext& before them");
    return CallForStatus(fn, step, std::forward<Values>(values)...);
  }
}

template <typename Fn>
bool IsEmptyFunction(const Fn&) {
  return false;
}
template <typename Signature>
bool IsEmptyFunction(const std::function<Signature>& fn) {
  return fn == nullptr;
}

template <typename T>
struct IsTuple : std::false_type {};
template <typename... Ts>
struct IsTuple<std::tuple<Ts...>> : std::true_type {};

}  // namespace internal

// Calls `fn` after a step once every so many steps or seconds, beginning with
// the first, with the global step after it and the values of `fetches`, which
// is a Fetch, a Target, a List or Map, or a std::tuple of those: one argument
// for each that has a value. They are fetched only in those steps; where they
// need inputs that the caller's steps bring, a step without them is left out.
//
//   OnStep(Every::Steps(100), Fetch<float>("loss:0"),
//          [](int64_t step, float loss) { Plot(step, loss); });
//
// `fn` returns nothing or an absl::Status, whose error is Run()'s. To ask for a
// stop it takes the context as well, before the step:
//
//   OnStep(Every::Steps(1), std::tuple{loss, accuracy},
//          [](SessionRunContext& context, int64_t, float, float accuracy) {
//            if (accuracy > 0.99f) context.RequestStop("it is good enough");
//          });
//
// The graph must have a global step (else Create() fails with
// kFailedPrecondition), and `fn` must be copyable. A name that the graph does
// not have, and an empty std::function, are Create()'s kInvalidArgument.
template <typename F, typename Fn>
std::shared_ptr<OnStepHook> OnStep(const Every& every, F fetches, Fn fn) {
  const bool asks = !MakeRequest(fetches).empty();
  SessionRunArgs args = asks ? SessionRunArgs(fetches) : SessionRunArgs();
  if (internal::IsEmptyFunction(fn)) {
    return std::make_shared<OnStepHook>(every, std::move(args), nullptr);
  }
  return std::make_shared<OnStepHook>(
      every, std::move(args),
      [fetches = std::move(fetches), fn = std::move(fn)](
          SessionRunContext& context, int64_t step,
          const SessionRunValues& values) mutable -> absl::Status {
        using Result = typename FetchTraits<F>::Result;
        if constexpr (std::is_void_v<Result>) {
          return internal::CallOnStep(fn, context, step);
        } else {
          absl::StatusOr<Result> result = values.Get(fetches);
          if (!result.ok()) return result.status();
          if constexpr (internal::IsTuple<Result>::value) {
            return std::apply(
                [&](auto&&... items) {
                  return internal::CallOnStep(
                      fn, context, step,
                      std::forward<decltype(items)>(items)...);
                },
                *std::move(result));
          } else {
            return internal::CallOnStep(fn, context, step, *std::move(result));
          }
        }
      });
}

// The same without values.
template <typename Fn>
std::shared_ptr<OnStepHook> OnStep(const Every& every, Fn fn) {
  return OnStep(every, std::tuple<>(), std::move(fn));
}

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_LAMBDA_HOOK_H_
