-- Sends requests as they stand in a file, one after the other, round and round.
-- Arguments: the file, in which each request follows a line with the number of its bytes.

local requests, at = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for size in function() return file:read("*n") end do
    file:read(1)
    requests[#requests + 1] = file:read(size)
  end
  file:close()
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answers": %d, "seconds": %.6f, "failed": %d, "mean_ms": %.4f, "p99_ms": %.4f, "worst_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency.mean / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
