-- Asks for one name after the other, in an order that looks random and comes round once in `names` requests.
-- Arguments: path, names, step (without a common factor with names), first. `world.py` makes the same names.

local path, names, step, at

function init(args)
  path, names, step, at = args[1], tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
end

function request()
  at = (at + step) % names
  local lfn = string.format("/store/mc/Run2026/Simulation/%09d/%012d.root", math.floor(at / 1000), at)
  return wrk.format("GET", path .. "?lfn=" .. lfn)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answers": %d, "seconds": %.6f, "failed": %d, "mean_ms": %.4f, "p99_ms": %.4f, "worst_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency.mean / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
