-- Loaded by wrk: prints the figures of one run as a line of JSON, after wrk's own summary.  Latencies are microseconds.
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format('{"requests": %d, "errors": %d, "seconds": %.6f, "p50": %.1f, "p99": %.1f}\n',
        summary.requests - errors.status,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        summary.duration / 1e6, latency:percentile(50), latency:percentile(99)))
end
