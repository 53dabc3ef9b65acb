if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
-- Any new value is a request. The resourceVersion differs each time, because the request itself changes it.
obj.metadata.annotations["rotate.bucketconnection.dev/requestedAt"] = "By Argo CD at resourceVersion " .. obj.metadata.resourceVersion
return obj
