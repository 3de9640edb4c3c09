// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/monitored/singular_monitored_session.h"

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/mutex.h"
#include "tftrain/coordination/queue_runner.h"
#include "tftrain/monitored/internal/hooked_session.h"
#include "tftrain/setup/session_creator.h"
#include "tftrain/summary/disk_patience.h"

namespace tftrain {

using internal::CallHook;
using internal::HookEntry;

std::string_view StopReasonName(StopReason reason) {
  switch (reason) {
    case StopReason::kStopRequested:
      return "stop requested";
    case StopReason::kEndOfInput:
      return "end of input";
    case StopReason::kStopIteration:
      return "stop iteration";
    case StopReason::kClosed:
      return "closed";
  }
  return "closed";
}

namespace {

// How long Close() waits, beyond the grace period, for a server's answers.
constexpr absl::Duration kLastPatience = absl::Milliseconds(900);

// How long event files may hold up the hooks' end: half of the grace period, so
// that the other half is left for threads, but what a disk in order needs.
absl::Duration EventFilePatience(double grace_period_secs) {
  constexpr double kLeastSecs = 0.5;
  // Written so that NaN counts as zero.
  return absl::Seconds(
      grace_period_secs / 2 > kLeastSecs ? grace_period_secs / 2 : kLeastSecs);
}

std::shared_ptr<Coordinator> MakeCoordinator() {
  Coordinator::Options options;
  // An input that ends in a thread is no clean end: only a step's is.
  options.clean_stop = nullptr;
  return std::make_shared<Coordinator>(options);
}

// Closes after `body`, unless that closed its session itself.
absl::StatusOr<Summary> CloseOnce(SingularMonitoredSession& session,
                                  absl::Status body) {
  if (!session.closed()) {
    TF_RETURN_IF_ERROR(session.Close(std::move(body)));
  } else if (!body.ok() && !IsCleanStop(body)) {
    return body;
  }
  return session.summary();
}

// Marks that a step or a hook's callback runs, after which the session is used.
class Busy {
 public:
  explicit Busy(std::atomic<int>* busy) : busy_(*busy) {
    busy_.fetch_add(1, std::memory_order_relaxed);
  }
  ~Busy() { busy_.fetch_sub(1, std::memory_order_relaxed); }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  std::atomic<int>& busy_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SingularMonitoredSession>>
SingularMonitoredSession::Create(GraphPtr graph, Options options) {
  std::unique_ptr<SingularMonitoredSession> session(
      new SingularMonitoredSession(std::move(graph), std::move(options)));
  const absl::Status opened = CallCatching([&] { return session->Open(); });
  if (opened.ok()) return session;
  FirstError error(opened);
  const internal::DiskPatience patience(
      EventFilePatience(session->options_.stop_grace_period_secs));
  session->Abort(opened);
  error.Update(session->StopAndJoin(patience.spent()));
  return error.status();
}

SingularMonitoredSession::SingularMonitoredSession(GraphPtr graph,
                                                   Options options)
    : graph_(std::move(graph)),
      options_(std::move(options)),
      scaffold_(options_.scaffold != nullptr ? options_.scaffold
                                             : std::make_shared<Scaffold>()),
      coordinator_(MakeCoordinator()) {}

SingularMonitoredSession::~SingularMonitoredSession() {
  if (closed() || fork_.InChild()) return;
  const absl::Status status =
      Close(absl::CancelledError("the session was dropped without Close(); its "
                                 "hooks' End was not called"));
  LOG(WARNING) << status;
}

absl::Status SingularMonitoredSession::Open() {
  TF_RETURN_IF_ERROR(BeginHooks());
  TF_RETURN_IF_ERROR(OpenSession());
  return AfterCreateSession();
}

absl::Status SingularMonitoredSession::BeginHooks() {
  for (size_t i = 0; i < options_.hooks.size(); ++i) {
    const HookPtr& hook = options_.hooks[i];
    if (hook == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("hook ", i + 1, " of ", options_.hooks.size(),
                       " is null; give one, or leave it out"));
    }
    HookEntry entry{hook, hook->name(), {}, {}};
    BeginContext context(graph_, scaffold_);
    TF_RETURN_IF_ERROR(
        CallHook(entry, "Begin", [&] { return hook->Begin(context); }));
    entry.declare = context.declared();
    hooks_.push_back(std::move(entry));
  }
  return absl::OkStatus();
}

absl::Status SingularMonitoredSession::OpenSession() {
  ChiefSessionCreator::Options options;
  options.scaffold = scaffold_;
  options.master = options_.master;
  options.config = options_.config;
  options.thread_mode = options_.thread_mode;
  options.checkpoint_dir = options_.checkpoint_dir;
  options.checkpoint_filename_with_path =
      options_.checkpoint_filename_with_path;
  options.fall_back = options_.fall_back;
  ChiefSessionCreator creator(graph_, std::move(options));
  TF_ASSIGN_OR_RETURN(session_, creator.CreateSession());
  summary_.restore = creator.restore_report();
  TF_RETURN_IF_ERROR(TakeDeclaredRequests());
  hooked_ = std::make_unique<internal::HookedSession>(session_.get(), &hooks_,
                                                      options_.measure_hooks);
  const std::string queue_runners(collection_keys::kQueueRunners);
  if (graph_->collections().count(queue_runners) == 0) return absl::OkStatus();
  return StartQueueRunners(session_, coordinator_).status();
}

absl::Status SingularMonitoredSession::TakeDeclaredRequests() {
  for (HookEntry& entry : hooks_) {
    const auto take = [&]() -> absl::Status {
      for (const BeginContext::MakeArgs& make : entry.declare) {
        TF_ASSIGN_OR_RETURN(SessionRunArgs args, make());
        if (args.empty()) continue;
        TF_RETURN_IF_ERROR(session_->CheckRequest(args.request()));
        entry.declared.push_back(std::move(args));
      }
      return absl::OkStatus();
    };
    TF_RETURN_IF_ERROR(CallHook(entry, "Begin", take));
  }
  return absl::OkStatus();
}

absl::Status SingularMonitoredSession::AfterCreateSession() {
  for (const HookEntry& entry : hooks_) {
    TF_RETURN_IF_ERROR(CallHook(entry, "AfterCreateSession", [&] {
      return entry.hook->AfterCreateSession(*session_, *coordinator_);
    }));
  }
  return absl::OkStatus();
}

absl::Status SingularMonitoredSession::EndHooks() {
  const Busy busy(&busy_);
  ending_.store(true, std::memory_order_relaxed);
  FirstError error;
  for (const HookEntry& entry : hooks_) {
    error.Update(
        CallHook(entry, "End", [&] { return entry.hook->End(*session_); }));
  }
  hooks_.clear();
  return error.status();
}

void SingularMonitoredSession::Abort(const absl::Status& status) {
  const Busy busy(&busy_);
  ending_.store(true, std::memory_order_relaxed);
  for (const HookEntry& entry : hooks_) {
    const absl::Status told = CallHook(entry, "OnAbort", [&] {
      entry.hook->OnAbort(status);
      return absl::OkStatus();
    });
    if (!told.ok()) LOG(ERROR) << told;
  }
  hooks_.clear();
}

absl::Status SingularMonitoredSession::StopAndJoin(absl::Duration spent) {
  coordinator_->RequestStop();
  Coordinator::JoinOptions join;
  join.stop_grace_period_secs =
      options_.stop_grace_period_secs - absl::ToDoubleSeconds(spent);
  join.ignore_live_threads = true;
  join.kept_by_live_threads = std::make_shared<
      std::pair<std::shared_ptr<Session>, std::shared_ptr<Coordinator>>>(
      session_, coordinator_);
  const absl::Status joined = coordinator_->Join(join);
  closed_.store(true, std::memory_order_release);
  if (session_ != nullptr) {
    // Cancels what threads still wait in; they let go of the session last.
    const absl::Status closed =
        session_->Close(server_answers_ ? kLastPatience : absl::ZeroDuration());
    if (!closed.ok()) LOG(WARNING) << "Closing the session: " << closed;
    session_.reset();
  }
  scaffold_->Unfinalize();
  return joined;
}

bool SingularMonitoredSession::ShouldStop() {
  if (closed() || hooked_->stop_requested()) return true;
  if (!coordinator_->ShouldStop()) {
    return step_fn_stopped_.load(std::memory_order_acquire);
  }
  if (!coordinator_->status().ok()) {
    met_failure_.store(true, std::memory_order_release);
  }
  return true;
}

void SingularMonitoredSession::RequestStop(std::string_view reason) {
  coordinator_->RequestStop(reason);
}

void SingularMonitoredSession::StopByStepFn() {
  if (coordinator_->stop_message().empty()) {
    step_fn_gave_reason_.store(true, std::memory_order_release);
  }
  step_fn_stopped_.store(true, std::memory_order_release);
}

absl::StatusOr<Summary> SingularMonitoredSession::RunUntilStop(
    absl::FunctionRef<absl::Status()> body) {
  if (closed()) return AlreadyClosed();
  absl::Status status;
  while (status.ok() && !ShouldStop()) {
    status = CallCatching(body);
  }
  return CloseOnce(*this, std::move(status));
}

absl::Status SingularMonitoredSession::Close(absl::Status body) {
  if (closed()) return AlreadyClosed();
  if (fork_.InChild()) {
    closed_.store(true, std::memory_order_release);
    return IsCleanStop(body) ? absl::OkStatus() : body;
  }
  if (busy_.load(std::memory_order_relaxed)) {
    return absl::FailedPreconditionError(
        "the session cannot be closed while one of its steps or a callback of "
        "a hook runs; call RequestStop there, and close it afterwards");
  }
  // Training that stopped because a thread failed did not end cleanly.
  if (body.ok() && met_failure_.load(std::memory_order_acquire)) {
    body = coordinator_->status();
  }
  NoteHowItEnded(body);
  const internal::DiskPatience patience(
      EventFilePatience(options_.stop_grace_period_secs));
  absl::Status ended;
  if (body.ok() || IsCleanStop(body)) {
    ended = EndHooks();
  } else {
    Abort(body);
  }
  if (options_.measure_hooks) {
    LOG(INFO) << "Cost of the hooks, " << hook_costs().ToTable();
  }
  FirstError error(StopAndJoin(patience.spent()));
  error.Update(ended);
  if (!IsCleanStop(body)) error.Update(body);
  if (scaffold_->saver() != nullptr) {
    const std::vector<std::string> kept =
        scaffold_->saver()->last_checkpoints();
    if (!kept.empty()) summary_.checkpoint = kept.back();
  }
  return error.status();
}

void SingularMonitoredSession::NoteHowItEnded(const absl::Status& body) {
  // A server that answers no more must not hold this up.
  tensorflow::RunOptions in_time;
  in_time.set_timeout_in_ms(absl::ToInt64Milliseconds(kLastPatience));
  const absl::StatusOr<int64_t> step =
      session_->GlobalStep(session_->is_local() ? nullptr : &in_time);
  if (step.ok()) summary_.last_step = *step;
  server_answers_ = !absl::IsDeadlineExceeded(step.status());
  if (IsEndOfInput(body)) {
    summary_.reason = StopReason::kEndOfInput;
    summary_.detail = std::string(body.message());
  } else if (IsStopIteration(body)) {
    summary_.reason = StopReason::kStopIteration;
    summary_.detail = StopDetail();
  } else if (hooked_->stop_requested() || coordinator_->ShouldStop() ||
             step_fn_stopped_.load(std::memory_order_acquire)) {
    summary_.reason = StopReason::kStopRequested;
    summary_.detail = StopDetail();
  }
}

std::string SingularMonitoredSession::StopDetail() const {
  if (hooked_->stop_requested()) return hooked_->stop_reason();
  if (step_fn_gave_reason_.load(std::memory_order_acquire)) {
    return "the step function asked for it";
  }
  return coordinator_->stop_message();
}

absl::Status SingularMonitoredSession::AlreadyClosed() {
  return absl::FailedPreconditionError(
      "the session is closed already; create a new one");
}

absl::Status SingularMonitoredSession::CheckOpen() const {
  if (closed()) return AlreadyClosed();
  if (fork_.InChild()) return session_->CheckUsable();
  if (ending_.load(std::memory_order_relaxed)) {
    return absl::FailedPreconditionError(
        "the session is being closed, and its hooks have ended; run what is "
        "needed then in the session that End is given");
  }
  return absl::OkStatus();
}

Session& SingularMonitoredSession::raw_session() const {
  CHECK(!closed()) << "the session is closed";
  return *session_;
}

absl::Status SingularMonitoredSession::RunRequest(
    const RequestPtr& request, absl::Span<const FeedValue> feeds,
    const tensorflow::RunOptions* options, tensorflow::RunMetadata* metadata,
    Receive receive) {
  TF_RETURN_IF_ERROR(CheckOpen());
  const Busy busy(&busy_);
  absl::Status status =
      hooked_->Run(request, feeds, options, metadata, receive);
  if (status.ok() || IsPreemption(status)) return status;
  // A step that fails because a thread was preempted tells the cause.
  if (const absl::Status cause = coordinator_->status(); IsPreemption(cause)) {
    return cause;
  }
  return status;
}

RequestPtr SingularMonitoredSession::Intern(Request request) {
  if (closed()) return std::make_shared<const Request>(std::move(request));
  return session_->Intern(std::move(request));
}

absl::Status SingularMonitoredSession::PlanRequest(const RequestPtr& request) {
  TF_RETURN_IF_ERROR(CheckOpen());
  return hooked_->PlanAhead(request);
}

const HookCosts& SingularMonitoredSession::hook_costs() const {
  return hooked_->costs();
}

absl::StatusOr<Summary> With(
    GraphPtr graph, SingularMonitoredSession::Options options,
    absl::FunctionRef<absl::Status(SingularMonitoredSession&)> body) {
  TF_ASSIGN_OR_RETURN(
      std::unique_ptr<SingularMonitoredSession> session,
      SingularMonitoredSession::Create(std::move(graph), std::move(options)));
  return CloseOnce(*session, CallCatching([&] { return body(*session); }));
}

}  // namespace tftrain
