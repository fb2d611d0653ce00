"""Clean Rooms' operations, put together from their resources."""

from modelyard.collaborations.model import NotAMember
from modelyard.jobs.model import NotFound
from modelyard.jobs.tags import TooManyTags
from modelyard.services.cleanrooms.analysis_rules import AnalysisRules
from modelyard.services.cleanrooms.association_rules import AssociationRules
from modelyard.services.cleanrooms.backend import Backend, denied
from modelyard.services.cleanrooms.budgets import BudgetTemplates
from modelyard.services.cleanrooms.collaborations import Collaborations
from modelyard.services.cleanrooms.configured_tables import ConfiguredTables
from modelyard.services.cleanrooms.memberships import Memberships
from modelyard.services.cleanrooms.protected_queries import ProtectedQueries
from modelyard.services.cleanrooms.schemas import Schemas
from modelyard.services.cleanrooms.table_associations import TableAssociations
from modelyard.services.cleanrooms.tagging import tagging
from modelyard.services.cleanrooms.templates import Templates
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError
from modelyard.wire.endpoint import Handler, Service
from modelyard.wire.errors import Fault

TAGGED = ("CleanroomsArn",)
"""Shapes that are too short for ARNs of ours: what lies in a membership has more than their 100 characters."""


def cleanrooms(backend: Backend) -> Service:
    """The service, ready to answer."""
    collaborations, memberships, tags = Collaborations(backend), Memberships(backend), tagging(backend)
    configured_tables, analysis_rules = ConfiguredTables(backend), AnalysisRules(backend)
    associations, association_rules = TableAssociations(backend), AssociationRules(backend)
    templates, schemas = Templates(backend), Schemas(backend)
    budgets, queries = BudgetTemplates(backend), ProtectedQueries(backend)
    handlers: dict[str, Handler] = {
        "create_collaboration": collaborations.create,
        "get_collaboration": collaborations.get,
        "list_collaborations": collaborations.list,
        "update_collaboration": collaborations.update,
        "delete_collaboration": collaborations.delete,
        "list_members": collaborations.list_members,
        "delete_member": collaborations.delete_member,
        "create_membership": memberships.create,
        "get_membership": memberships.get,
        "list_memberships": memberships.list,
        "update_membership": memberships.update,
        "delete_membership": memberships.delete,
        "create_configured_table": configured_tables.create,
        "get_configured_table": configured_tables.get,
        "list_configured_tables": configured_tables.list,
        "update_configured_table": configured_tables.update,
        "delete_configured_table": configured_tables.delete,
        "create_configured_table_analysis_rule": analysis_rules.create,
        "get_configured_table_analysis_rule": analysis_rules.get,
        "update_configured_table_analysis_rule": analysis_rules.update,
        "delete_configured_table_analysis_rule": analysis_rules.delete,
        "create_configured_table_association": associations.create,
        "get_configured_table_association": associations.get,
        "list_configured_table_associations": associations.list,
        "update_configured_table_association": associations.update,
        "delete_configured_table_association": associations.delete,
        "create_configured_table_association_analysis_rule": association_rules.create,
        "get_configured_table_association_analysis_rule": association_rules.get,
        "update_configured_table_association_analysis_rule": association_rules.update,
        "delete_configured_table_association_analysis_rule": association_rules.delete,
        "create_analysis_template": templates.create,
        "get_analysis_template": templates.get,
        "list_analysis_templates": templates.list,
        "update_analysis_template": templates.update,
        "delete_analysis_template": templates.delete,
        "get_collaboration_analysis_template": templates.get_of_collaboration,
        "batch_get_collaboration_analysis_template": templates.batch_get,
        "list_collaboration_analysis_templates": templates.list_of_collaboration,
        "list_schemas": schemas.list,
        "get_schema": schemas.get,
        "batch_get_schema": schemas.batch_get,
        "get_schema_analysis_rule": schemas.get_rule,
        "batch_get_schema_analysis_rule": schemas.batch_get_rules,
        "create_privacy_budget_template": budgets.create,
        "get_privacy_budget_template": budgets.get,
        "list_privacy_budget_templates": budgets.list,
        "update_privacy_budget_template": budgets.update,
        "delete_privacy_budget_template": budgets.delete,
        "list_privacy_budgets": budgets.list_budgets,
        "list_collaboration_privacy_budgets": budgets.list_budgets_of_collaboration,
        "get_collaboration_privacy_budget_template": budgets.get_of_collaboration,
        "list_collaboration_privacy_budget_templates": budgets.list_of_collaboration,
        "start_protected_query": queries.start,
        "get_protected_query": queries.get,
        "list_protected_queries": queries.list,
        "update_protected_query": queries.update,
        "tag_resource": tags.tag,
        "untag_resource": tags.untag,
        "list_tags_for_resource": tags.list,
    }
    return Service("cleanrooms", handlers, faults=_fault, any_text=TAGGED)


def _fault(error: Exception) -> Fault | None:
    match error:
        case NotAMember():
            return denied(f"You have no collaboration or membership {error}")
        case NotFound():
            gone = {"resourceId": str(error), "resourceType": "MEMBERSHIP"}
            return Fault("ResourceNotFoundException", f"{error} was deleted meanwhile", gone)
        case AccessDenied():
            return denied(str(error))
        case ObjectError() | TooManyTags():
            return Fault("ValidationException", str(error))
    return None
