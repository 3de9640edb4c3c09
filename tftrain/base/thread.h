// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A named thread that can be waited for with a limit, and that may outlive
// whoever started it.

#ifndef TFTRAIN_BASE_THREAD_H_
#define TFTRAIN_BASE_THREAD_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tftrain {

// One running function. States: running -> done -> joined, or detached at any
// time. What the thread needs of this object it shares with it, so that a
// straggler goes on safely after the object is gone; what the function itself
// uses, the function must own.
//
// Thread-safe.
//
//   TF_ASSIGN_OR_RETURN(std::shared_ptr<Thread> thread,
//                       Thread::Start("reader", [queue] { queue->Fill(); }));
//   if (!thread->JoinFor(absl::Seconds(5))) LOG(WARNING) << thread->Describe();
class Thread {
 public:
  // Starts a thread that calls `fn` once and then destroys it. The system
  // shows the first 15 bytes of `name` as the thread's name. An exception that
  // leaves `fn` ends the program.
  //
  // Errors: kResourceExhausted when the system refuses another thread.
  static absl::StatusOr<std::shared_ptr<Thread>> Start(
      std::string name, std::function<void()> fn);

  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  // Joins a thread that is done. One that still runs is left to itself, with a
  // warning in the log; one of a parent process without a word. Never blocks.
  ~Thread();

  const std::string& name() const;

  // True once the function has returned and was destroyed, and in a forked
  // child, where nothing runs it.
  bool done() const;

  // Waits until the thread has ended; not in a forked child. A second call, or
  // one after `Detach`, waits for `done()` only.
  // REQUIRES: the caller is not this thread.
  void Join();

  // Waits until the thread has ended, for at most `timeout` of real time.
  // Returns false if it still runs, and at once in a forked child.
  // REQUIRES: the caller is not this thread.
  bool JoinFor(absl::Duration timeout);

  // Whether the thread is not one of this process, but of the one that this was
  // forked from: nothing ends it here.
  bool InForkedChild() const;

  // Leaves the thread to itself: the destructor will not mention it.
  void Detach();

  // Calls `callback` on the thread as its last act, after `done()` became
  // true; at once, on the caller's thread, if it is done already. It must not
  // join the thread.
  void OnDone(std::function<void()> callback);

  // Notes what the calling thread is about to wait in, such as the name of an
  // op, for the report on a thread that does not stop; an empty text takes the
  // note back. Does nothing on a thread that is no `Thread`.
  static void SetActivity(std::string_view activity);
  // The same with a text that is made when somebody asks for it, on the thread
  // of that one and without a lock; `describe` must own what it uses.
  static void SetActivity(std::function<std::string()> describe);
  std::string activity() const;

  // Makes the calling thread one that does not interrupt others of its priority
  // when it has waited for something, as for the disk, but lets them finish
  // their slice of time (SCHED_BATCH).
  static void LetOthersFinish();

  // The name in quotes, followed by " in " and the activity in quotes if there
  // is one.
  std::string Describe() const;

 private:
  struct State;

  explicit Thread(std::shared_ptr<State> state);

  const std::shared_ptr<State> state_;
};

}  // namespace tftrain

#endif  // TFTRAIN_BASE_THREAD_H_
