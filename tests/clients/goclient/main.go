// Calls the REST API with the client that is generated from Harbor's own document, as its command
// line does. Prints what fails, and how many operations answered as that document says.
//
//	goclient URL USER PASSWORD     library/a/b:v1 has to be there
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/goharbor/go-client/pkg/harbor"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/artifact"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/auditlog"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/configure"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/gc"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/health"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/immutable"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/label"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/member"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/permissions"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/ping"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/project"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/project_metadata"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/purge"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/quota"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/repository"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/robot"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/search"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/statistic"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/systeminfo"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/user"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/usergroup"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

var (
	api          *client.HarborAPI
	ctx          = context.Background()
	done, failed int
)

// check counts one operation, and says what was wrong with it.
func check(what string, err error) {
	if err != nil {
		failed++
		fmt.Printf("%s: %v\n", what, err)
		return
	}
	done++
}

// need is check for an answer that others build on.
func need[T any](what string) func(T, error) T {
	return func(answer T, err error) T {
		check(what, err)
		if err != nil {
			os.Exit(1)
		}
		return answer
	}
}

func err1[T any](_ T, err error) error            { return err }
func ptr[T any](value T) *T                       { return &value }
func expect(holds bool, what string, args ...any) { check(what, unless(holds, fmt.Sprint(args...))) }

func unless(holds bool, said string) error {
	if holds {
		return nil
	}
	return errors.New("unexpected: " + said)
}

func main() {
	set, err := harbor.NewClientSet(&harbor.ClientSetConfig{
		URL: os.Args[1], Username: os.Args[2], Password: os.Args[3], Insecure: true,
	})
	if err != nil {
		panic(err)
	}
	api = set.V2()
	installation()
	id := projects()
	people()
	members()
	labelID := labels()
	robots(id)
	quotas(id)
	rules()
	content(labelID)
	logs()
	collections()
	purges()
	fmt.Printf("%d operations, %d failed\n", done, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func installation() {
	check("health", err1(api.Health.GetHealth(ctx, &health.GetHealthParams{})))
	check("ping", err1(api.Ping.GetPing(ctx, &ping.GetPingParams{})))
	check("system info", err1(api.Systeminfo.GetSystemInfo(ctx, &systeminfo.GetSystemInfoParams{})))
	check("volumes", err1(api.Systeminfo.GetVolumes(ctx, &systeminfo.GetVolumesParams{})))
	check("statistic", err1(api.Statistic.GetStatistic(ctx, &statistic.GetStatisticParams{})))
	check("permissions", err1(api.Permissions.GetPermissions(ctx, &permissions.GetPermissionsParams{})))
	check("search", err1(api.Search.Search(ctx, &search.SearchParams{Q: "li"})))
	check("set configurations", err1(api.Configure.UpdateConfigurations(ctx,
		&configure.UpdateConfigurationsParams{
			Configurations: &models.Configurations{RobotTokenDuration: ptr(int64(9))},
		})))
	found := need[*configure.GetConfigurationsOK]("configurations")(
		api.Configure.GetConfigurations(ctx, &configure.GetConfigurationsParams{}))
	expect(found.Payload.RobotTokenDuration.Value == 9, "a setting", found.Payload)
}

func projects() int32 {
	check("create project", err1(api.Project.CreateProject(ctx, &project.CreateProjectParams{
		Project: &models.ProjectReq{
			ProjectName:  "gop",
			Metadata:     &models.ProjectMetadata{Public: "false"},
			StorageLimit: ptr(int64(1 << 30)),
		},
	})))
	found := need[*project.GetProjectOK]("get project")(
		api.Project.GetProject(ctx, &project.GetProjectParams{ProjectNameOrID: "gop"}))
	expect(found.Payload.Name == "gop" && found.Payload.Metadata.Public == "false", "a project", found)
	check("list projects", err1(api.Project.ListProjects(ctx,
		&project.ListProjectsParams{WithDetail: ptr(true)})))
	check("summary", err1(api.Project.GetProjectSummary(ctx,
		&project.GetProjectSummaryParams{ProjectNameOrID: "gop"})))
	check("head project", err1(api.Project.HeadProject(ctx,
		&project.HeadProjectParams{ProjectName: "gop"})))
	check("deletable", err1(api.Project.GetProjectDeletable(ctx,
		&project.GetProjectDeletableParams{ProjectNameOrID: "gop"})))
	check("update project", err1(api.Project.UpdateProject(ctx, &project.UpdateProjectParams{
		ProjectNameOrID: "gop",
		Project:         &models.ProjectReq{Metadata: &models.ProjectMetadata{AutoScan: ptr("true")}},
	})))
	metadata := api.ProjectMetadata
	check("list metadata", err1(metadata.ListProjectMetadatas(ctx,
		&project_metadata.ListProjectMetadatasParams{ProjectNameOrID: "gop"})))
	check("add metadata", err1(metadata.AddProjectMetadatas(ctx,
		&project_metadata.AddProjectMetadatasParams{
			ProjectNameOrID: "gop", Metadata: map[string]string{"severity": "low"},
		})))
	check("update metadata", err1(metadata.UpdateProjectMetadata(ctx,
		&project_metadata.UpdateProjectMetadataParams{
			ProjectNameOrID: "gop", MetaName: "severity",
			Metadata: map[string]string{"severity": "high"},
		})))
	check("get metadata", err1(metadata.GetProjectMetadata(ctx,
		&project_metadata.GetProjectMetadataParams{ProjectNameOrID: "gop", MetaName: "severity"})))
	check("delete metadata", err1(metadata.DeleteProjectMetadata(ctx,
		&project_metadata.DeleteProjectMetadataParams{ProjectNameOrID: "gop", MetaName: "severity"})))
	return found.Payload.ProjectID
}

func people() {
	check("create user", err1(api.User.CreateUser(ctx, &user.CreateUserParams{
		UserReq: &models.UserCreationReq{
			Username: "gou", Password: "Harbour2026", Email: "g@example.com", Realname: "G",
		},
	})))
	found := need[*user.SearchUsersOK]("search users")(
		api.User.SearchUsers(ctx, &user.SearchUsersParams{Username: "gou"}))
	id := found.Payload[0].UserID
	check("list users", err1(api.User.ListUsers(ctx, &user.ListUsersParams{})))
	check("get user", err1(api.User.GetUser(ctx, &user.GetUserParams{UserID: id})))
	check("set administrator", err1(api.User.SetUserSysAdmin(ctx, &user.SetUserSysAdminParams{
		UserID: id, SysadminFlag: &models.UserSysAdminFlag{SysadminFlag: true},
	})))
	check("profile", err1(api.User.UpdateUserProfile(ctx, &user.UpdateUserProfileParams{
		UserID: id, Profile: &models.UserProfile{Email: "h@example.com", Realname: "H"},
	})))
	check("password", err1(api.User.UpdateUserPassword(ctx, &user.UpdateUserPasswordParams{
		UserID: id, Password: &models.PasswordReq{NewPassword: "Harbour2027"},
	})))
	check("current user", err1(api.User.GetCurrentUserInfo(ctx, &user.GetCurrentUserInfoParams{})))
	check("own permissions", err1(api.User.GetCurrentUserPermissions(ctx,
		&user.GetCurrentUserPermissionsParams{})))
	groups := api.Usergroup
	check("create group", err1(groups.CreateUserGroup(ctx, &usergroup.CreateUserGroupParams{
		Usergroup: &models.UserGroup{GroupName: "gog", GroupType: 3},
	})))
	check("search groups", err1(groups.SearchUserGroups(ctx,
		&usergroup.SearchUserGroupsParams{Groupname: "gog"})))
	listed := need[*usergroup.ListUserGroupsOK]("list groups")(
		groups.ListUserGroups(ctx, &usergroup.ListUserGroupsParams{}))
	check("delete group", err1(groups.DeleteUserGroup(ctx,
		&usergroup.DeleteUserGroupParams{GroupID: listed.Payload[0].ID})))
}

func members() {
	check("create member", err1(api.Member.CreateProjectMember(ctx,
		&member.CreateProjectMemberParams{
			ProjectNameOrID: "gop",
			ProjectMember: &models.ProjectMember{
				RoleID: 2, MemberUser: &models.UserEntity{Username: "gou"},
			},
		})))
	found := need[*member.ListProjectMembersOK]("list members")(
		api.Member.ListProjectMembers(ctx, &member.ListProjectMembersParams{
			ProjectNameOrID: "gop", Entityname: ptr("gou"),
		}))
	id := found.Payload[0].ID
	check("update member", err1(api.Member.UpdateProjectMember(ctx,
		&member.UpdateProjectMemberParams{
			ProjectNameOrID: "gop", Mid: id, Role: &models.RoleRequest{RoleID: 3},
		})))
	got := need[*member.GetProjectMemberOK]("get member")(
		api.Member.GetProjectMember(ctx,
			&member.GetProjectMemberParams{ProjectNameOrID: "gop", Mid: id}))
	expect(got.Payload.RoleID == 3 && got.Payload.EntityName == "gou", "a member", got.Payload)
	check("delete member", err1(api.Member.DeleteProjectMember(ctx,
		&member.DeleteProjectMemberParams{ProjectNameOrID: "gop", Mid: id})))
}

func labels() int64 {
	check("create label", err1(api.Label.CreateLabel(ctx, &label.CreateLabelParams{
		Label: &models.Label{Name: "gol", Color: "#FFFFFF", Scope: "g"},
	})))
	found := need[*label.ListLabelsOK]("list labels")(
		api.Label.ListLabels(ctx, &label.ListLabelsParams{Scope: ptr("g")}))
	id := found.Payload[0].ID
	check("update label", err1(api.Label.UpdateLabel(ctx, &label.UpdateLabelParams{
		LabelID: id, Label: &models.Label{Name: "changed", Scope: "g"},
	})))
	check("get label", err1(api.Label.GetLabelByID(ctx, &label.GetLabelByIDParams{LabelID: id})))
	return id
}

func robots(projectID int32) {
	pull := []*models.Access{{Resource: "repository", Action: "pull"}}
	made := need[*robot.CreateRobotCreated]("create robot")(
		api.Robot.CreateRobot(ctx, &robot.CreateRobotParams{
			Robot: &models.RobotCreate{
				Name: "gor", Level: "project", Duration: 30,
				Permissions: []*models.RobotPermission{
					{Kind: "project", Namespace: "gop", Access: pull},
				},
			},
		}))
	id := made.Payload.ID
	expect(made.Payload.Secret != "" && made.Payload.Name == "robot$gop+gor", "a robot", made.Payload)
	check("get robot", err1(api.Robot.GetRobotByID(ctx, &robot.GetRobotByIDParams{RobotID: id})))
	check("refresh robot", err1(api.Robot.RefreshSec(ctx, &robot.RefreshSecParams{
		RobotID: id, RobotSec: &models.RobotSec{},
	})))
	query := fmt.Sprintf("Level=project,ProjectID=%d", projectID)
	listed := need[*robot.ListRobotOK]("list robots")(
		api.Robot.ListRobot(ctx, &robot.ListRobotParams{Q: &query}))
	expect(len(listed.Payload) == 1, "one robot", len(listed.Payload))
	check("delete robot", err1(api.Robot.DeleteRobot(ctx, &robot.DeleteRobotParams{RobotID: id})))
}

func quotas(projectID int32) {
	found := need[*quota.ListQuotasOK]("list quotas")(
		api.Quota.ListQuotas(ctx, &quota.ListQuotasParams{
			Reference: ptr("project"), ReferenceID: ptr(fmt.Sprint(projectID)),
		}))
	expect(len(found.Payload) == 1 && found.Payload[0].Hard["storage"] == 1<<30, "a quota", found)
	check("update quota", err1(api.Quota.UpdateQuota(ctx, &quota.UpdateQuotaParams{
		ID:   found.Payload[0].ID,
		Hard: &models.QuotaUpdateReq{Hard: models.ResourceList{"storage": 5 << 30}},
	})))
}

func rules() {
	check("create rule", err1(api.Immutable.CreateImmuRule(ctx, &immutable.CreateImmuRuleParams{
		ProjectNameOrID: "gop",
		ImmutableRule: &models.ImmutableRule{
			Action: "immutable", Template: "immutable_template",
			TagSelectors: []*models.ImmutableSelector{
				{Kind: "doublestar", Decoration: "matches", Pattern: "release-*"},
			},
			ScopeSelectors: map[string][]models.ImmutableSelector{
				"repository": {{Kind: "doublestar", Decoration: "repoMatches", Pattern: "**"}},
			},
		},
	})))
	found := need[*immutable.ListImmuRulesOK]("list rules")(
		api.Immutable.ListImmuRules(ctx, &immutable.ListImmuRulesParams{ProjectNameOrID: "gop"}))
	check("delete rule", err1(api.Immutable.DeleteImmuRule(ctx, &immutable.DeleteImmuRuleParams{
		ProjectNameOrID: "gop", ImmutableRuleID: found.Payload[0].ID,
	})))
}

func content(labelID int64) {
	const in, name, tag = "library", "a%2Fb", "v1"
	check("all repositories", err1(api.Repository.ListAllRepositories(ctx,
		&repository.ListAllRepositoriesParams{})))
	check("repositories", err1(api.Repository.ListRepositories(ctx,
		&repository.ListRepositoriesParams{ProjectName: in})))
	check("describe repository", err1(api.Repository.UpdateRepository(ctx,
		&repository.UpdateRepositoryParams{
			ProjectName: in, RepositoryName: name,
			Repository: &models.Repository{Description: "text"},
		})))
	found := need[*repository.GetRepositoryOK]("get repository")(
		api.Repository.GetRepository(ctx,
			&repository.GetRepositoryParams{ProjectName: in, RepositoryName: name}))
	expect(found.Payload.Description == "text", "a repository", found.Payload)
	check("add label", err1(api.Artifact.AddLabel(ctx, &artifact.AddLabelParams{
		ProjectName: in, RepositoryName: name, Reference: tag, Label: &models.Label{ID: labelID},
	})))
	check("create tag", err1(api.Artifact.CreateTag(ctx, &artifact.CreateTagParams{
		ProjectName: in, RepositoryName: name, Reference: tag, Tag: &models.Tag{Name: "v2"},
	})))
	listed := need[*artifact.ListArtifactsOK]("list artifacts")(
		api.Artifact.ListArtifacts(ctx, &artifact.ListArtifactsParams{
			ProjectName: in, RepositoryName: name, WithTag: ptr(true), WithLabel: ptr(true),
			WithAccessory: ptr(true), WithScanOverview: ptr(true), WithImmutableStatus: ptr(true),
		}))
	first := listed.Payload[0]
	expect(len(first.Tags) == 2 && first.Labels[0].ID == labelID, "an artifact", first)
	check("get artifact", err1(api.Artifact.GetArtifact(ctx, &artifact.GetArtifactParams{
		ProjectName: in, RepositoryName: name, Reference: tag,
	})))
	check("list tags", err1(api.Artifact.ListTags(ctx, &artifact.ListTagsParams{
		ProjectName: in, RepositoryName: name, Reference: tag,
	})))
	check("delete tag", err1(api.Artifact.DeleteTag(ctx, &artifact.DeleteTagParams{
		ProjectName: in, RepositoryName: name, Reference: tag, TagName: "v2",
	})))
	check("remove label", err1(api.Artifact.RemoveLabel(ctx, &artifact.RemoveLabelParams{
		ProjectName: in, RepositoryName: name, Reference: tag, LabelID: labelID,
	})))
	check("accessories", err1(api.Artifact.ListAccessories(ctx, &artifact.ListAccessoriesParams{
		ProjectName: in, RepositoryName: name, Reference: tag,
	})))
	check("artifacts of project", err1(api.Project.ListArtifactsOfProject(ctx,
		&project.ListArtifactsOfProjectParams{ProjectNameOrID: in})))
	check("copy", err1(api.Artifact.CopyArtifact(ctx, &artifact.CopyArtifactParams{
		ProjectName: "gop", RepositoryName: "c", From: "library/a/b:v1",
	})))
	check("delete artifact", err1(api.Artifact.DeleteArtifact(ctx, &artifact.DeleteArtifactParams{
		ProjectName: "gop", RepositoryName: "c", Reference: tag,
	})))
	check("delete repository", err1(api.Repository.DeleteRepository(ctx,
		&repository.DeleteRepositoryParams{ProjectName: "gop", RepositoryName: "c"})))
	check("delete project", err1(api.Project.DeleteProject(ctx,
		&project.DeleteProjectParams{ProjectNameOrID: "gop"})))
	check("delete label", err1(api.Label.DeleteLabel(ctx, &label.DeleteLabelParams{LabelID: labelID})))
}

func logs() {
	check("audit log", err1(api.Auditlog.ListAuditLogs(ctx, &auditlog.ListAuditLogsParams{})))
	check("audit log, extended", err1(api.Auditlog.ListAuditLogExts(ctx,
		&auditlog.ListAuditLogExtsParams{})))
	check("types of events", err1(api.Auditlog.ListAuditLogEventTypes(ctx,
		&auditlog.ListAuditLogEventTypesParams{})))
	check("log of a project", err1(api.Project.GetLogExts(ctx,
		&project.GetLogExtsParams{ProjectName: "library"})))
}

func collections() {
	now := &models.Schedule{Schedule: &models.ScheduleObj{Type: "Manual"}}
	made := need[*gc.CreateGCScheduleCreated]("collect")(
		api.GC.CreateGCSchedule(ctx, &gc.CreateGCScheduleParams{Schedule: now}))
	id := number(made.Location)
	check("collection", err1(api.GC.GetGC(ctx, &gc.GetGCParams{GCID: id})))
	check("log of a collection", err1(api.GC.GetGCLog(ctx, &gc.GetGCLogParams{GCID: id})))
	check("stop a collection", err1(api.GC.StopGC(ctx, &gc.StopGCParams{GCID: id})))
	runs := need[*gc.GetGCHistoryOK]("collections")(
		api.GC.GetGCHistory(ctx, &gc.GetGCHistoryParams{}))
	expect(runs.Payload[0].ID == id, "a collection in its history", runs.Payload)
	daily := &models.Schedule{Schedule: &models.ScheduleObj{Type: "Daily"}}
	check("schedule collections", err1(api.GC.UpdateGCSchedule(ctx,
		&gc.UpdateGCScheduleParams{Schedule: daily})))
	found := need[*gc.GetGCScheduleOK]("schedule of collections")(
		api.GC.GetGCSchedule(ctx, &gc.GetGCScheduleParams{}))
	expect(found.Payload.Schedule.Cron == "0 0 0 * * *", "a schedule", found.Payload)
}

func purges() {
	asked := &models.Schedule{
		Schedule: &models.ScheduleObj{Type: "Manual"},
		Parameters: map[string]interface{}{
			"audit_retention_hour": 24, "include_event_types": "create_artifact", "dry_run": true,
		},
	}
	made := need[*purge.CreatePurgeScheduleCreated]("purge")(
		api.Purge.CreatePurgeSchedule(ctx, &purge.CreatePurgeScheduleParams{Schedule: asked}))
	id := number(made.Location)
	check("one purge", err1(api.Purge.GetPurgeJob(ctx, &purge.GetPurgeJobParams{PurgeID: id})))
	check("log of a purge", err1(api.Purge.GetPurgeJobLog(ctx,
		&purge.GetPurgeJobLogParams{PurgeID: id})))
	check("stop a purge", err1(api.Purge.StopPurge(ctx, &purge.StopPurgeParams{PurgeID: id})))
	check("purges", err1(api.Purge.GetPurgeHistory(ctx, &purge.GetPurgeHistoryParams{})))
	asked.Schedule.Type = "Weekly"
	check("schedule purges", err1(api.Purge.UpdatePurgeSchedule(ctx,
		&purge.UpdatePurgeScheduleParams{Schedule: asked})))
	found := need[*purge.GetPurgeScheduleOK]("schedule of purges")(
		api.Purge.GetPurgeSchedule(ctx, &purge.GetPurgeScheduleParams{}))
	expect(found.Payload.Schedule.Type == "Weekly", "a schedule", found.Payload)
}

// number is what a Location ends with.
func number(location string) int64 {
	found, err := strconv.ParseInt(location[strings.LastIndex(location, "/")+1:], 10, 64)
	expect(err == nil, "a number in "+location, err)
	return found
}
