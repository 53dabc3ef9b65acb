local hs = {}

local conditions = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    conditions[condition.type] = condition
  end
end
local ready = conditions["Ready"]
local stalled = conditions["Stalled"]
-- A condition of an earlier generation says nothing about this one.
local needsAction = stalled ~= nil and stalled.status == "True" and stalled.observedGeneration == obj.metadata.generation

if obj.metadata.deletionTimestamp ~= nil then
  if needsAction then
    hs.status = "Degraded"
    hs.message = stalled.message
  else
    hs.status = "Progressing"
    hs.message = "Deletion in progress"
  end
  return hs
end

-- The API server sets -1 until the first reconcile.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  hs.status = "Progressing"
  hs.message = "Waiting for the operator to reconcile this generation of the spec"
  return hs
end

if needsAction then
  hs.status = "Degraded"
  hs.message = stalled.message
  return hs
end

if ready ~= nil and ready.status == "True" and ready.observedGeneration == obj.metadata.generation then
  hs.status = "Healthy"
  hs.message = ready.message
  return hs
end

-- Without Stalled, the operator continues: also after a transient failure.
hs.status = "Progressing"
hs.message = "Waiting for the condition Ready"
if ready ~= nil and ready.status ~= "True" then
  hs.message = ready.message
end
return hs
