// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A server of TensorFlow's distributed runtime inside the test.

#ifndef TFTRAIN_TESTING_LOCAL_SERVER_H_
#define TFTRAIN_TESTING_LOCAL_SERVER_H_

#include <memory>
#include <string>

#include "tensorflow/core/distributed_runtime/server_lib.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/status.h"
#include "tensorflow/core/protobuf/tensorflow_server.pb.h"

namespace tftrain {

// The address of a server in this process, "grpc://...", the same at each call.
// It listens where the system finds a free port and lives to the end of the
// process: TensorFlow's servers cannot be destroyed. So do its variables, which
// all sessions on it share: give them names of their own in each test. Ends the
// program if the server cannot be started.
//
// Thread-safe.
inline const std::string& LocalServerAddress() {
  static const std::string* const address = [] {
    tensorflow::ServerDef def;
    def.set_protocol("grpc");
    def.set_job_name("local");
    def.set_task_index(0);
    auto* job = def.mutable_cluster()->add_job();
    job->set_name("local");
    (*job->mutable_tasks())[0] = "localhost:0";
    std::unique_ptr<tensorflow::ServerInterface> server;
    CHECK(tensorflow::NewServer(def, &server).ok());
    CHECK(server->Start().ok());
    return new std::string(server.release()->target());
  }();
  return *address;
}

}  // namespace tftrain

#endif  // TFTRAIN_TESTING_LOCAL_SERVER_H_
