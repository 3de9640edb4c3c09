// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/coordination/queue_runner.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/data_flow_ops.h"
#include "tensorflow/core/common_runtime/device_mgr.h"
#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/framework/node_def_util.h"
#include "tensorflow/core/framework/queue_interface.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/mutex.h"

namespace tftrain {

// What the runner shares with its threads, which may outlive it.
struct QueueRunner::State {
  Mutex mu;
  // Enqueue threads that have not ended, by session.
  std::map<const Session*, int> running ABSL_GUARDED_BY(mu);
  std::vector<absl::Status> exceptions ABSL_GUARDED_BY(mu);
};

namespace {

bool IsQueueClosed(const tensorflow::QueueRunnerDef& def,
                   const absl::Status& status) {
  const auto& codes = def.queue_closed_exception_types();
  if (codes.empty()) return absl::IsOutOfRange(status);
  return std::any_of(codes.begin(), codes.end(), [&](int code) {
    return code == static_cast<int>(status.code());
  });
}

absl::Status NothingToRun(const std::string& queue) {
  return absl::InvalidArgumentError(
      absl::StrCat("the queue runner of \"", queue,
                   "\" has no queue or no enqueue operation; give it both"));
}

// How many elements the queue that `op` fills holds now, if it has a shared
// name and lives in this process. Looks at the queue itself: a run that asks
// for the size might hang where the thread does.
std::optional<int> QueueSize(const Session& session, const std::string& op) {
  const absl::StatusOr<const tensorflow::Node*> enqueue =
      session.graph()->FindOperation(op);
  const tensorflow::Node* queue = nullptr;
  std::string container, name;
  const tensorflow::DeviceMgr* devices = nullptr;
  if (!enqueue.ok() || !(*enqueue)->input_node(0, &queue).ok() ||
      !tensorflow::TryGetNodeAttr(queue->attrs(), "container", &container) ||
      !tensorflow::TryGetNodeAttr(queue->attrs(), "shared_name", &name) ||
      !session.engine()->LocalDeviceManager(&devices).ok()) {
    return std::nullopt;
  }
  for (tensorflow::Device* device : devices->ListDevices()) {
    tensorflow::ResourceMgr* resources = device->resource_manager();
    if (container.empty()) container = resources->default_container();
    tensorflow::QueueInterface* found = nullptr;
    if (resources->Lookup(container, name, &found).ok()) {
      return tensorflow::core::RefCountPtr<tensorflow::QueueInterface>(found)
          ->size();
    }
  }
  return std::nullopt;
}

// Enqueues until something ends it; returns what.
absl::Status EnqueueUntilStopped(const std::string& op,
                                 const std::shared_ptr<Session>& session,
                                 const Coordinator* coordinator) {
  Thread::SetActivity([op, weak = std::weak_ptr<Session>(session)] {
    const std::shared_ptr<Session> open = weak.lock();
    const std::optional<int> size =
        open == nullptr ? std::nullopt : QueueSize(*open, op);
    return size.has_value() ? absl::StrCat(op, ", queue size ", *size) : op;
  });
  TF_ASSIGN_OR_RETURN(const auto enqueue, session->Prepare(Target(op)));
  while (coordinator == nullptr || !coordinator->ShouldStop()) {
    TF_RETURN_IF_ERROR(enqueue());
  }
  return absl::OkStatus();
}

}  // namespace

QueueRunner::QueueRunner(tensorflow::QueueRunnerDef def)
    : def_(std::move(def)), state_(std::make_shared<State>()) {}

absl::StatusOr<std::shared_ptr<QueueRunner>> QueueRunner::FromDef(
    const Graph& graph, const tensorflow::QueueRunnerDef& def) {
  if (def.queue_name().empty() || def.enqueue_op_name().empty()) {
    return NothingToRun(def.queue_name());
  }
  std::vector<std::string> ops(def.enqueue_op_name().begin(),
                               def.enqueue_op_name().end());
  ops.push_back(def.close_op_name());
  ops.push_back(def.cancel_op_name());
  for (const std::string& op : ops) {
    absl::StatusOr<const tensorflow::Node*> node = graph.FindOperation(op);
    if (!node.ok()) {
      return Annotate(node.status(), absl::StrCat("in the queue runner of \"",
                                                  def.queue_name(), "\""));
    }
  }
  return std::shared_ptr<QueueRunner>(new QueueRunner(def));
}

absl::StatusOr<std::shared_ptr<QueueRunner>> QueueRunner::Create(
    Graph& graph, const tensorflow::Output& queue,
    const std::vector<tensorflow::Operation>& enqueue_ops,
    const Options& options) {
  const std::string name = queue.node()->name();
  if (enqueue_ops.empty()) return NothingToRun(name);
  const auto& types = options.queue_closed_exception_types;
  if (types.empty() ||
      std::count(types.begin(), types.end(), absl::StatusCode::kOk) > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the queue runner of \"", name,
        "\" needs at least one error that means the end of the input, and OK "
        "is none; give it kOutOfRange"));
  }
  const tensorflow::Scope scope = graph.scope();
  using tensorflow::ops::QueueClose;
  const auto add_close = [&](bool cancel) -> tensorflow::Operation {
    return QueueClose(scope.WithOpName(name, "_Close"), queue,
                      QueueClose::CancelPendingEnqueues(cancel))
        .operation;
  };
  const tensorflow::Operation close =
      options.close_op.has_value() ? *options.close_op : add_close(false);
  const tensorflow::Operation cancel =
      options.cancel_op.has_value() ? *options.cancel_op : add_close(true);
  TF_RETURN_IF_ERROR(scope.status());
  tensorflow::QueueRunnerDef def;
  def.set_queue_name(name);
  for (const tensorflow::Operation& op : enqueue_ops) {
    def.add_enqueue_op_name(op.node()->name());
  }
  def.set_close_op_name(close.node()->name());
  def.set_cancel_op_name(cancel.node()->name());
  for (const absl::StatusCode type : types) {
    def.add_queue_closed_exception_types(
        static_cast<tensorflow::error::Code>(type));
  }
  return FromDef(graph, def);
}

absl::StatusOr<std::vector<std::shared_ptr<Thread>>> QueueRunner::Start(
    std::shared_ptr<Session> session,
    std::shared_ptr<Coordinator> coordinator) {
  {
    MutexLock lock(state_->mu);
    if (state_->running[session.get()] > 0) {
      return std::vector<std::shared_ptr<Thread>>();
    }
    state_->running[session.get()] = def_.enqueue_op_name_size();
    state_->exceptions.clear();
  }

  // One enqueue thread ends with `status`; the last one to see the end of the
  // input closes the queue behind it.
  auto finish = [def = def_, state = state_, session,
                 coordinator](const absl::Status& status) {
    const bool input_ended = IsQueueClosed(def, status);
    bool is_last = false;
    {
      MutexLock lock(state->mu);
      is_last = --state->running[session.get()] == 0;
      if (is_last) state->running.erase(session.get());
    }
    if (status.ok()) return;
    if (input_ended) {
      if (is_last) {
        // The queue may be closed already, and the session too.
        session->Run(Target(def.close_op_name())).IgnoreError();
      }
      return;
    }
    if (coordinator != nullptr) {
      // Cancelling pending enqueues is how stopping is done.
      if (coordinator->ShouldStop() && absl::IsCancelled(status)) return;
      coordinator->RequestStop(Annotate(
          status,
          absl::StrCat("in the queue runner of \"", def.queue_name(), "\"")));
      return;
    }
    LOG(ERROR) << "the queue runner of \"" << def.queue_name()
               << "\" ends: " << status;
    MutexLock lock(state->mu);
    state->exceptions.push_back(status);
  };

  std::vector<std::shared_ptr<Thread>> threads;
  auto start = [&](std::string name,
                   std::function<void()> body) -> absl::Status {
    TF_ASSIGN_OR_RETURN(std::shared_ptr<Thread> thread,
                        Thread::Start(std::move(name), std::move(body)));
    if (coordinator != nullptr) coordinator->RegisterThread(thread);
    threads.push_back(std::move(thread));
    return absl::OkStatus();
  };
  for (int i = 0; i < def_.enqueue_op_name_size(); ++i) {
    const std::string op = def_.enqueue_op_name(i);
    absl::Status started = start(
        absl::StrCat(name(), "/", op), [op, session, coordinator, finish] {
          finish(EnqueueUntilStopped(op, session, coordinator.get()));
        });
    if (!started.ok()) {
      // The threads that do run end through the Coordinator.
      MutexLock lock(state_->mu);
      state_->running[session.get()] -= def_.enqueue_op_name_size() - i;
      if (coordinator != nullptr) coordinator->RequestStop(started);
      return started;
    }
  }
  if (coordinator != nullptr) {
    TF_RETURN_IF_ERROR(
        start(absl::StrCat(name(), "/close_on_stop"),
              [cancel_op = def_.cancel_op_name(), session, coordinator] {
                Thread::SetActivity("waiting for a stop");
                coordinator->WaitForStop();
                Thread::SetActivity(cancel_op);
                session->Run(Target(cancel_op)).IgnoreError();
              }));
  }
  return threads;
}

std::vector<absl::Status> QueueRunner::exceptions_raised() const {
  MutexLock lock(state_->mu);
  return state_->exceptions;
}

absl::Status AddQueueRunner(Graph& graph, const QueueRunner& runner,
                            std::string_view collection) {
  return graph.AddToCollection(collection, runner.ToProto());
}

absl::StatusOr<std::vector<std::shared_ptr<Thread>>> StartQueueRunners(
    const std::shared_ptr<Session>& session,
    const std::shared_ptr<Coordinator>& coordinator,
    std::string_view collection) {
  if (session == nullptr) {
    return absl::InvalidArgumentError(
        "queue runners were started without a session; give the one to run in");
  }
  const Graph& graph = *session->graph();
  TF_ASSIGN_OR_RETURN(
      const std::vector<tensorflow::QueueRunnerDef> defs,
      graph.GetProtoCollection<tensorflow::QueueRunnerDef>(collection));
  if (defs.empty()) {
    LOG(WARNING)
        << "The collection \"" << collection
        << "\" holds no queue runner to start; the call can be removed";
  }
  std::vector<std::shared_ptr<QueueRunner>> runners;
  for (const tensorflow::QueueRunnerDef& def : defs) {
    TF_ASSIGN_OR_RETURN(std::shared_ptr<QueueRunner> runner,
                        QueueRunner::FromDef(graph, def));
    runners.push_back(std::move(runner));
  }
  std::vector<std::shared_ptr<Thread>> threads;
  for (const std::shared_ptr<QueueRunner>& runner : runners) {
    TF_ASSIGN_OR_RETURN(std::vector<std::shared_ptr<Thread>> started,
                        runner->Start(session, coordinator));
    threads.insert(threads.end(), started.begin(), started.end());
  }
  return threads;
}

}  // namespace tftrain
