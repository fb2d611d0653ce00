"""S3 over the embedded storage, put together from its resources."""

from modelyard.services.s3.backend import Backend
from modelyard.services.s3.buckets import BucketResource
from modelyard.services.s3.faults import fault_of
from modelyard.services.s3.integrity import check_document
from modelyard.services.s3.listing import ListingResource
from modelyard.services.s3.objects import ObjectResource
from modelyard.services.s3.uploads import UploadResource
from modelyard.wire.service import Handler, Service


def s3(backend: Backend) -> Service:
    """The service, ready to answer."""
    buckets, objects = BucketResource(backend), ObjectResource(backend)
    listing, uploads = ListingResource(backend), UploadResource(backend)
    handlers: dict[str, Handler] = {
        "create_bucket": buckets.create,
        "head_bucket": buckets.head,
        "list_buckets": buckets.list,
        "delete_bucket": buckets.delete,
        "get_bucket_location": buckets.location,
        "get_bucket_versioning": buckets.versioning,
        "put_object": objects.put,
        "get_object": objects.get,
        "head_object": objects.head,
        "copy_object": objects.copy,
        "delete_object": objects.delete,
        "delete_objects": objects.delete_many,
        "get_object_attributes": objects.attributes,
        "get_object_tagging": objects.tagging,
        "list_objects": listing.older,
        "list_objects_v2": listing.newer,
        "create_multipart_upload": uploads.create,
        "upload_part": uploads.put_part,
        "upload_part_copy": uploads.copy_part,
        "complete_multipart_upload": uploads.complete,
        "abort_multipart_upload": uploads.abort,
        "list_parts": uploads.list_parts,
        "list_multipart_uploads": uploads.list,
    }
    relaxed = ("ChecksumMode",)  # AWS's SDK for C++ says "enabled"
    return Service("s3", handlers, faults=fault_of, any_text=relaxed, verify=check_document)
