"""What must change in the official FME SDK for Python so that it answers as docs/deviations.md says.

Each edit is (file, old text, new text), and the old text must be there exactly once. ``PARITY`` is the
object in fme_oracle.py: its ``row(name)`` is asked only where the two answers may part, since it also
notes that the row was met.
"""

from __future__ import annotations

FLAG = "api/get_flag_api.py"
CLIENT = "wingify_client.py"
ALIAS = "utils/aliasing_util.py"
CAMPAIGN = "utils/campaign_util.py"
DECISION = "utils/decision_util.py"
GROUP = "utils/meg_util.py"
HOLDOUT = "utils/holdout_util.py"
NETWORK = "utils/network_util.py"
RULE = "services/campaign_decision_service.py"
SEGMENT = "packages/segmentation_evaluator/evaluators/segment_evaluator.py"
OPERAND = "packages/segmentation_evaluator/evaluators/segment_operand_evaluator.py"
WEB = "packages/segmentation_evaluator/utils/web_testing_segment_util.py"

EDITS: list[tuple[str, str, str]] = [
    # Contexts.
    (
        "models/user/context_model.py",
        """        self.id = context.get("id")
""",
        """        context = PARITY.present(context)
        self.id = context.get("id")
""",
    ),
    (
        "models/user/context_model.py",
        "        if self.session_id is None:\n",
        "        if self.session_id is None or (not self.session_id and PARITY.row('zero_session')):\n",
    ),
    # Operands.
    (
        OPERAND,
        "    def evaluate_custom_variable_dsl(\n",
        """    def evaluate_custom_variable_dsl(self, node, properties, context):
        return PARITY.custom_variable(self, node, properties, context)

    def stock_custom_variable(
""",
    ),
    (
        OPERAND,
        "    def evaluate_user_agent_dsl(self, dsl_operand_value, context: ContextModel):\n",
        """    def evaluate_user_agent_dsl(self, operand, context):
        return PARITY.user_agent(self, operand, context)

    def stock_user_agent(self, dsl_operand_value, context: ContextModel):
""",
    ),
    (
        OPERAND,
        "    def evaluate_string_operand_dsl(\n",
        """    def evaluate_string_operand_dsl(self, operand, context, kind):
        return PARITY.string_operand(self, operand, context, kind)

    def stock_string_operand(
""",
    ),
    # Segments.
    (
        SEGMENT,
        "        key, value = get_key_value(dsl)\n        operator = key\n",
        """        if dsl == {} and PARITY.row("empty_node"):
            return False
        key, value = get_key_value(dsl)
        operator = key
""",
    ),
    (
        SEGMENT,
        "f.get_id() == int(feature_id_key)",
        "f.get_id() == PARITY.feature_number(feature_id_key)",
    ),
    (SEGMENT, """return str(value).replace('"', "").strip()""", "return PARITY.place(value)"),
    (
        WEB,
        """    web_testing_campaigns_input = platform_variables.get("web_testing_campaigns")
    # if the web testing campaigns input is None, then return True
""",
        """    web_testing_campaigns_input = platform_variables.get("web_testing_campaigns")
    if PARITY.is_empty_campaigns(web_testing_campaigns_input):
        return True
""",
    ),
    # Whom user lists know.
    (
        RULE,
        "        campaign_type = campaign.get_type()\n        segments = {}\n",
        """        PARITY.list_user(
            context,
            context.get_list_id(campaign),
            "list_of_another_rule",
        )
        campaign_type = campaign.get_type()
        segments = {}
""",
    ),
    (
        "models/user/context_model.py",
        "    def get_user_agent(self) -> str:\n",
        """    def get_list_id(self, campaign) -> str:
        if not campaign.get_is_user_list_enabled():
            return self.get_id()
        return get_uuid(self.get_id(), str(SettingsManager.get_instance().get_account_id()))

    def get_user_agent(self) -> str:
""",
    ),
    (
        HOLDOUT,
        "    applicable_holdouts = get_applicable_holdouts(settings, feature_id)\n",
        """    PARITY.list_user(context, context.get_id(), "list_of_a_holdout")
    applicable_holdouts = get_applicable_holdouts(settings, feature_id)
""",
    ),
    # Rules.
    (
        RULE,
        "            traffic_allocation = campaign.get_percent_traffic()\n",
        """            traffic_allocation = campaign.get_percent_traffic()
            if traffic_allocation is None and PARITY.row("missing_traffic"):
                traffic_allocation = 0
""",
    ),
    (
        CAMPAIGN,
        """        group_name = settings.get_groups()[group_id]["name"]
""",
        """        if group_id not in settings.get_groups() and PARITY.row("missing_group"):
            return {"isMissing": True}
        group_name = settings.get_groups()[group_id]["name"]
""",
    ),
    (
        DECISION,
        """    group_id = group_details.get("groupId")
""",
        """    if group_details.get("isMissing"):
        return False, None
    group_id = group_details.get("groupId")
""",
    ),
    (
        DECISION,
        """                            str(stored_data.get("experimentId"))
                            + "_"
                            + str(campaign.get_variations()[0].get_id())
""",
        """                            str(stored_data.get("experimentId"))
                            + "_"
                            + str(
                                stored_data.get("experimentVariationId")
                                if PARITY.row("meg_stored_personalize")
                                else campaign.get_variations()[0].get_id()
                            )
""",
    ),
    # Groups.
    (
        GROUP,
        """                        "rolloutVariationId": rule.get_variations()[0].get_id(),
                    }
                    return True
""",
        """                        "rolloutVariationId": rule.get_variations()[0].get_id(),
                    }
                    return True
                if PARITY.row("meg_several_rollout_rules"):
                    break
""",
    ),
    (
        GROUP,
        """            if stored_data and stored_data.get("experimentVariationId"):
""",
        """            if PARITY.row("storage_key_form"):
                if PARITY.is_stored_rule(campaign, feature_key, stored_data):
                    eligible_campaigns_with_storage.append(clone_object(campaign))
                    continue
                stored_data = None
            if stored_data and stored_data.get("experimentVariationId"):
""",
    ),
    (
        GROUP,
        """                    "isInHoldoutId": [holdout.get_id() for holdout in matched_holdouts],
                    "context": context,
""",
        """                    "isInHoldoutId": [holdout.get_id() for holdout in matched_holdouts],
                    "notInHoldoutId": PARITY.not_in(stored_data),
                    **PARITY.kept(stored_data, "group_holdout_forgets"),
                    "context": context,
""",
    ),
    # Keys in records.
    (
        CAMPAIGN,
        """    if campaign.get_type() == CampaignTypeEnum.PERSONALIZE.value:
        rule_key = _resolve_feature_rule_key(campaign, feature_key)
""",
        """    if campaign.get_type() == CampaignTypeEnum.PERSONALIZE.value and not PARITY.row("storage_key_form"):
        rule_key = _resolve_feature_rule_key(campaign, feature_key)
""",
    ),
    (
        CAMPAIGN,
        """    if campaign.get_type() == CampaignTypeEnum.ROLLOUT.value:
        rule_key = _resolve_feature_rule_key(campaign, feature_key)
""",
        """    if campaign.get_type() == CampaignTypeEnum.ROLLOUT.value and not PARITY.row("storage_key_form"):
        rule_key = _resolve_feature_rule_key(campaign, feature_key)
""",
    ),
    (
        CAMPAIGN,
        """                get_experiment_key(linked_campaign, feature_key) == campaign_key
                or get_rollout_key(linked_campaign, feature_key) == campaign_key
""",
        """                f"{feature_key}_{linked_campaign.get_rule_key()}" == campaign_key
                or get_experiment_key(linked_campaign, feature_key) == campaign_key
                or get_rollout_key(linked_campaign, feature_key) == campaign_key
""",
    ),
    (
        FLAG,
        """                    "rolloutKey": stored_data["rolloutKey"],
""",
        """                    "rolloutKey": PARITY.campaign_key(settings, stored_data),
""",
    ),
    # Who is in a holdout on record.
    (
        FLAG,
        """                        holdout_result = get_matched_holdouts(settings, feature, context, stored_data)
""",
        """                        if PARITY.asks_context(applicable_holdouts, stored_data):
                            SegmentationManager.get_instance().set_contextual_data(
                                settings, feature, context
                            )
                        holdout_result = get_matched_holdouts(settings, feature, context, stored_data)
""",
    ),
    # What records hold.
    (
        HOLDOUT,
        """                "notInHoldoutId": updated_not_in_holdout_ids,
""",
        """                "notInHoldoutId": updated_not_in_holdout_ids,
                **PARITY.kept(stored_data, "decision_forgotten"),
""",
    ),
    (
        FLAG,
        """                                NOT_IN_HOLDOUT_ID_KEY: updated_not_in_holdout_ids,
""",
        """                                NOT_IN_HOLDOUT_ID_KEY: updated_not_in_holdout_ids,
                                **PARITY.kept(stored_data, "holdout_forgets"),
""",
    ),
    (
        FLAG,
        """                        NOT_IN_HOLDOUT_ID_KEY: [holdout.get_id() for holdout in not_matched_holdouts],
""",
        """                        NOT_IN_HOLDOUT_ID_KEY: [
                            *PARITY.not_in(stored_data),
                            *(holdout.get_id() for holdout in not_matched_holdouts),
                        ],
                        **PARITY.kept(stored_data, "holdout_forgets"),
""",
    ),
    (
        FLAG,
        """                notInHoldoutIds.extend([holdout.get_id() for holdout in not_matched_holdouts])
""",
        """                notInHoldoutIds.extend(PARITY.not_in(stored_data))
                notInHoldoutIds.extend([holdout.get_id() for holdout in not_matched_holdouts])
""",
    ),
    # Over the wire.
    (
        NETWORK,
        """    properties["d"]["event"]["props"]["fId"] = feature_id

    return properties
""",
        """    properties["d"]["event"]["props"]["fId"] = feature_id

    return PARITY.same_visitor(properties, context)
""",
    ),
    (
        NETWORK,
        """        for prop, value in event_properties.items():
""",
        """        for prop, value in PARITY.properties(event_properties).items():
""",
    ),
    (
        NETWORK,
        """    properties["d"]["visitor"]["props"].update(attribute_map)
""",
        """    properties["d"]["visitor"]["props"].update(PARITY.properties(attribute_map))
""",
    ),
    (
        NETWORK,
        """            if key in custom_variables:
                properties["d"]["visitor"]""",
        """            if PARITY.reports(custom_variables, key):
                properties["d"]["visitor"]""",
    ),
    # The gateway.
    (
        "models/user/context_model.py",
        "if vwo_context_data else None",
        "if vwo_context_data or PARITY.has_empty_details(context.get('_vwo')) else None",
    ),
    (
        "models/user/context_model.py",
        """        self.id = id
        self._vwo_uuid = get_uuid(self.id, str(SettingsManager.get_instance().get_account_id()))
""",
        """        self.id = id
        stock = get_uuid(self.id, str(SettingsManager.get_instance().get_account_id()))
        self._vwo_uuid = PARITY.visitor(self.id, stock)
""",
    ),
    (
        ALIAS,
        '    if not response:\n        raise RuntimeError(\n            error_messages.get("ERROR_GETTING_ALIAS").format(userId=context.get_id(), err="Response is null")',
        '    if not PARITY.aliases(response):\n        raise RuntimeError(\n            error_messages.get("ERROR_GETTING_ALIAS").format(userId=context.get_id(), err="Response is null")',
    ),
    (
        CLIENT,
        'alias_id_clean = "".join(alias_id.strip().split())',
        "alias_id_clean = PARITY.alias(alias_id)",
    ),
    (
        CLIENT,
        """else user_id_or_context.get("id")
""",
        """else PARITY.id_text(user_id_or_context.get("id"))
""",
    ),
    # Arguments.
    (
        CLIENT,
        """        if not isinstance(context.get("id"), str):
""",
        """        if isinstance(context["id"], int) and PARITY.row("numeric_id"):
            context["id"] = str(context["id"])
        if context["id"] == "" and PARITY.row("empty_id"):
            raise ValueError("empty id")
        if not isinstance(context.get("id"), str):
""",
    ),
    (
        CLIENT,
        """                    if not is_string(key):
""",
        """                    if not is_string(key) or (key == "" and PARITY.row("empty_attribute_name")):
""",
    ),
    (
        CLIENT,
        "or value_or_context == '':",
        "or (value_or_context == '' and not PARITY.row('empty_attribute')):",
    ),
]
