-- What wrk sends: another question about another ticket every time, so that nothing but the shared beginning is known already.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

local counter = 0

function request()
  counter = counter + 1
  local body = string.format([[{"model": "triage", "state": "order %d was charged twice", "questions": {"queue":
    {"type": "choice", "instructions": "Which team?", "criteria": {"billing": "payments", "shipping": "parcels", "other": null}}}}]], counter)
  return wrk.format(nil, "/v1/systemone", nil, body)
end
