rockspec_format = "3.0"
package = "rille"
version = "scm-1"

source = {
  url = "git+https://github.com/rille/rille.git",
}

description = {
  summary = "Go's concurrency for Lua: tasks on native threads, channels, select, cancellation",
  detailed = [[
    Tasks that run in parallel on native threads and cost only memory while they wait,
    channels, select, done (cancellation from a parent to everything it started) and
    or-channels, as in Go. Plain Lua 5.4, no dependency but pthreads.
  ]],
  homepage = "https://github.com/rille/rille",
  license = "MIT",
  labels = { "concurrency", "threads", "channels", "cancellation" },
}

supported_platforms = { "linux" }

dependencies = {
  "lua >= 5.4, < 5.5",
}

build = {
  type = "builtin",
  modules = {
    rille = "lua/rille/init.lua",
    ["rille.args"] = "lua/rille/args.lua",
    ["rille.all_settled"] = "lua/rille/all_settled.lua",
    ["rille.backoff"] = "lua/rille/backoff.lua",
    ["rille.each"] = "lua/rille/each.lua",
    ["rille.errors"] = "lua/rille/errors.lua",
    ["rille.first_ok"] = "lua/rille/first_ok.lua",
    ["rille.group"] = "lua/rille/group.lua",
    ["rille.map"] = "lua/rille/map.lua",
    ["rille.race"] = "lua/rille/race.lua",
    ["rille.result"] = "lua/rille/result.lua",
    ["rille.runners"] = "lua/rille/runners.lua",
    ["rille.retry"] = "lua/rille/retry.lua",
    ["rille.cell"] = "lua/rille/cell.lua",
    ["rille.singleflight"] = "lua/rille/singleflight.lua",
    ["rille.limiter"] = "lua/rille/limiter.lua",
    ["rille.breaker"] = "lua/rille/breaker.lua",
    ["rille.heartbeat"] = "lua/rille/heartbeat.lua",
    ["rille.testing"] = "lua/rille/testing.lua",
    ["rille.busted"] = "lua/rille/busted.lua",
    ["rille.command"] = "lua/rille/command.lua",
    ["rille.command_line"] = "lua/rille/command_line.lua",
    ["rille.eventually"] = "lua/rille/eventually.lua",
    ["rille.report"] = "lua/rille/report.lua",
    ["rille.stages"] = "lua/rille/stages.lua",
    ["rille.stream"] = "lua/rille/stream.lua",
    ["rille.core"] = {
      sources = {
        "csrc/core/after.c",
        "csrc/core/any.c",
        "csrc/core/chan.c",
        "csrc/core/done.c",
        "csrc/core/event.c",
        "csrc/core/interrupt.c",
        "csrc/core/leak.c",
        "csrc/core/lock.c",
        "csrc/core/log.c",
        "csrc/core/msg.c",
        "csrc/core/notify.c",
        "csrc/core/object.c",
        "csrc/core/sched.c",
        "csrc/core/select.c",
        "csrc/core/task.c",
        "csrc/core/thread.c",
        "csrc/core/ticker.c",
        "csrc/core/timer.c",
        "csrc/core/waiter.c",
        "csrc/lua/arena.c",
        "csrc/lua/cell.c",
        "csrc/lua/chan.c",
        "csrc/lua/code.c",
        "csrc/lua/coroutine.c",
        "csrc/lua/deadlock.c",
        "csrc/lua/done.c",
        "csrc/lua/handle.c",
        "csrc/lua/inspect.c",
        "csrc/lua/interrupt.c",
        "csrc/lua/leak.c",
        "csrc/lua/library.c",
        "csrc/lua/log.c",
        "csrc/lua/member.c",
        "csrc/lua/notify.c",
        "csrc/lua/parts.c",
        "csrc/lua/process.c",
        "csrc/lua/report.c",
        "csrc/lua/runtime.c",
        "csrc/lua/searcher.c",
        "csrc/lua/select.c",
        "csrc/lua/sending.c",
        "csrc/lua/settings.c",
        "csrc/lua/state.c",
        "csrc/lua/task.c",
        "csrc/lua/testing.c",
        "csrc/lua/time.c",
        "csrc/lua/transfer.c",
        "csrc/lua/transfer_class.c",
        "csrc/lua/transfer_decode.c",
        "csrc/lua/transfer_encode.c",
        "csrc/lua/transfer_names.c",
        "csrc/lua/transfer_path.c",
        "csrc/lua/transfer_record.c",
        "csrc/lua/wait.c",
      },
      incdirs = { "csrc" },
      defines = { "_GNU_SOURCE" },
      libraries = { "pthread" },
    },
  },
  install = {
    bin = { rille = "lua/bin/rille" },
  },
  copy_directories = { "docs", "examples" },
}
